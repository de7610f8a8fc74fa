// SPDX-License-Identifier: Apache-2.0

// Command imageprogram is all programs of critest's images that busybox is not:
// the name by which it is called chooses.
package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// programs by their names; the web servers take their port as argument.
var programs = map[string]func(args []string) error{
	"pause":      pause,
	"nginx":      nginx,
	"httpd":      httpd,
	"nonewprivs": nonewprivs,
	"ipcs":       ipcs,
	"pgrep":      pgrep,
}

func main() {
	program := programs[filepath.Base(os.Args[0])]
	if strings.HasPrefix(os.Args[0], nginxTitle) {
		program = nginxMaster
	}
	if program == nil {
		fmt.Fprintf(os.Stderr, "no program %q\n", os.Args[0])
		os.Exit(127)
	}
	if err := program(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// pause is the first process of a pod: it takes in the orphans.
func pause([]string) error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return nil
		}
		for pid := 1; pid > 0; {
			pid, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		}
	}
	return nil
}

// nginxTitle is how nginx shows itself in lists of processes, which specs look for.
const nginxTitle = "nginx: master process"

// nginx takes its title, and keeps the name that pidof knows.
func nginx(args []string) error {
	return syscall.Exec("/usr/sbin/nginx", append([]string{nginxTitle}, args...), os.Environ())
}

func nginxMaster(args []string) error {
	if err := os.WriteFile("/var/run/nginx.pid", []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return err
	}
	return serve("Welcome to nginx!", args)
}

func httpd(args []string) error {
	fmt.Fprintln(os.Stderr, "httpd: resuming normal operations")
	return serve("It works!", args)
}

func serve(page string, args []string) error {
	return http.ListenAndServe(":"+args[0], http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "<html><body><h1>%s</h1></body></html>\n", page)
	}))
}

// nonewprivs belongs to root and has its set-uid bit.
func nonewprivs([]string) error {
	fmt.Printf("Effective uid: %d\n", os.Geteuid())
	return nil
}

// ipcs -m lists the segments of shared memory, in short.
func ipcs([]string) error {
	file, err := os.Open("/proc/sysvipc/shm")
	if err != nil {
		return err
	}
	defer file.Close()
	fmt.Println("------ Shared Memory Segments --------\nkey        shmid      perms      bytes")
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) > 3 && f[0] != "key" {
			fmt.Printf("%-10s %-10s %-10s %s\n", f[0], f[1], f[2], f[3])
		}
	}
	return lines.Err()
}

// pgrep NAME prints the processes whose name contains it, and fails if none does.
func pgrep(args []string) error {
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return err
	}
	found := false
	for _, name := range names {
		pid := filepath.Base(filepath.Dir(name))
		comm, err := os.ReadFile(name)
		if err == nil && strings.Contains(string(comm), args[0]) && pid != strconv.Itoa(os.Getpid()) {
			found = true
			fmt.Println(pid)
		}
	}
	if !found {
		os.Exit(1)
	}
	return nil
}
