// SPDX-License-Identifier: Apache-2.0
//
// pause keeps a pod's namespaces alive: it sleeps until it is told to end. It
// is freestanding (no libc, no headers), so that a few hundred bytes are all
// there is to build, to embed and to read.
//
// In a pod with one process namespace it is pid 1, and that decides its form:
// the kernel drops signals to pid 1 that it neither handles nor blocks, and
// hands it every orphan to reap. Blocking the signals and taking them one at a
// time meets both without signal handlers: a blocked signal is kept until it
// is asked for, even where its default is to be ignored.

#if defined(__x86_64__)
enum { RT_SIGPROCMASK = 14, WAIT4 = 61, RT_SIGTIMEDWAIT = 128, EXIT_GROUP = 231 };

static long syscall4(long number, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long result;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return result;
}
#elif defined(__aarch64__)
enum { EXIT_GROUP = 94, RT_SIGPROCMASK = 135, RT_SIGTIMEDWAIT = 137, WAIT4 = 260 };

static long syscall4(long number, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3)
			 : "memory");
	return x0;
}
#else
#error "no system calls known for this architecture"
#endif

enum { SIGINT = 2, SIGTERM = 15, SIGCHLD = 17 };
enum { SIG_BLOCK = 0, WNOHANG = 1 };

#define BIT(signal) (1UL << ((signal) - 1))

__attribute__((noreturn)) void _start(void)
{
	unsigned long set = BIT(SIGINT) | BIT(SIGTERM) | BIT(SIGCHLD);
	long received;

	syscall4(RT_SIGPROCMASK, SIG_BLOCK, (long)&set, 0, sizeof set);
	do {
		// One SIGCHLD may stand for many children: reap until none is left.
		while (syscall4(WAIT4, -1, 0, WNOHANG, 0) > 0)
			;
		// A negative result is an error such as EINTR after a stop and a
		// continue; waiting again is right.
		received = syscall4(RT_SIGTIMEDWAIT, (long)&set, 0, 0, sizeof set);
	} while (received != SIGINT && received != SIGTERM);
	for (;;)
		syscall4(EXIT_GROUP, 0, 0, 0, 0);
}
