// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// inNamespaces runs the rest of the test t as a process of its own, with a
// network and mounts of its own. There it returns true.
func inNamespaces(t *testing.T) bool {
	t.Helper()
	if os.Getenv(roleVariable) == "namespaces" {
		enter(t)
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make namespaces")
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), roleVariable+"=namespaces")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM):
		t.Skip("needs CAP_SYS_ADMIN, to make namespaces")
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skipf("%s", out)
	default:
		t.Logf("%s", out)
	}
	return false
}

// enter makes the new namespaces usable: nothing mounted here is seen outside,
// the plugins' state is empty, and there is a loopback.
func enter(t *testing.T) {
	t.Helper()
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/run", "/var/lib"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// pauseMain answers on port 80 of its namespace and waits for the end of its input.
func pauseMain() {
	if l, err := net.Listen("tcp", ":80"); err == nil {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprintln(c, "hello")
				c.Close()
			}
		}()
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// pause starts a process in new namespaces. It lives until the test ends, or
// until killed.
func pause(t *testing.T, cloneflags uintptr) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"=pause")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: cloneflags}
	if _, err := cmd.StdinPipe(); err != nil { // stays open as long as cmd is in use
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func TestPin(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	d := &netnsDir{dir: filepath.Join("/run", "netns")}
	if ids, err := d.ids(); err != nil || ids != nil {
		t.Errorf("before the first pin: %v, %v", ids, err)
	}
	first, second := pause(t, syscall.CLONE_NEWNET), pause(t, syscall.CLONE_NEWNET)
	for range 2 { // an existing pin of the same namespace is kept
		path, err := d.pin("s1", first.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		wantNamespace(t, path, first.Process.Pid)
		wantMounts(t, "dockershimd-s1", 1)
	}
	path, err := d.pin("s1", second.Process.Pid) // a stale one is replaced
	if err != nil {
		t.Fatal(err)
	}
	wantNamespace(t, path, second.Process.Pid)
	wantMounts(t, "dockershimd-s1", 1)

	kill(second)
	if d.path("s1") != path {
		t.Error("the pin did not outlive the process")
	}
	if _, err := d.pin("s1", second.Process.Pid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pin of a dead process: %v", err)
	}
	wantEqual(t, "ids", must(d.ids()), []string{"s1"})
	for range 2 {
		if err := d.unpin("s1"); err != nil {
			t.Error(err)
		}
	}
	wantEqual(t, "ids", must(d.ids()), nil)
	wantMounts(t, "dockershimd-s1", 0)
}

func TestPinRefusesTheNodesNamespace(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	d := &netnsDir{dir: "/run/netns"}
	_, err := d.pin("s1", os.Getpid())
	wantError(t, err, "in the node's own")
	_, err = d.pin("s1", pause(t, 0).Process.Pid)
	wantError(t, err, "in the node's own")
	if ids := must(d.ids()); ids != nil {
		t.Errorf("left %v", ids)
	}
}

// A file where the pin should be, such as a reboot leaves on a disk, is no pin.
func TestPinReplacesAPlainFile(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	d := &netnsDir{dir: "/run/netns"}
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, d.file("s1"), "")
	if d.path("s1") != "" {
		t.Error("a plain file counts as pin")
	}
	p := pause(t, syscall.CLONE_NEWNET)
	path, err := d.pin("s1", p.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	wantNamespace(t, path, p.Process.Pid)
}

// Containers of a network add-on have mount namespaces of their own.
func TestPinIsSeenByOthers(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	d := &netnsDir{dir: "/run/netns"}
	if _, err := d.pin("first", pause(t, syscall.CLONE_NEWNET).Process.Pid); err != nil {
		t.Fatal(err)
	}
	other := pause(t, syscall.CLONE_NEWNS)
	path, err := d.pin("s1", pause(t, syscall.CLONE_NEWNET).Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	seen := func() bool {
		var s unix.Statfs_t
		err := unix.Statfs(fmt.Sprintf("/proc/%d/root%s", other.Process.Pid, path), &s)
		return err == nil && s.Type == unix.NSFS_MAGIC
	}
	if !seen() {
		t.Error("the pin is not seen in another mount namespace")
	}
	if err := d.unpin("s1"); err != nil {
		t.Fatal(err)
	}
	if seen() {
		t.Error("the removed pin is still seen in another mount namespace")
	}
}

func TestRaiseLoopback(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	d := &netnsDir{dir: "/run/netns"}
	path, err := d.pin("s1", pause(t, syscall.CLONE_NEWNET).Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.raiseLoopback(path); err != nil {
			t.Fatal(err)
		}
	}
	h := handle(t, path)
	lo, err := h.LinkByName("lo")
	if err != nil || lo.Attrs().Flags&net.FlagUp == 0 {
		t.Errorf("lo is %v, %v", lo, err)
	}
	wantError(t, d.raiseLoopback("/run/netns/absent"), "bring loopback up", "absent")
}

func TestProcessOf(t *testing.T) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skip("no cgroups:", err)
	}
	path := fmt.Sprintf("/proc/%d/ns/net", os.Getpid())
	part := strings.TrimSpace(strings.Split(string(text), "\n")[0])
	if !processOf(part, path) {
		t.Errorf("%s is not taken for a process of %s", path, part)
	}
	for _, other := range []string{"/proc/0/ns/net", "/run/netns/x", "", path + "x"} {
		if processOf("0123abcd", other) {
			t.Errorf("%q is taken for a process of another sandbox", other)
		}
	}
}

// handle is a netlink socket in the namespace at path.
func handle(t *testing.T, path string) *netlink.Handle {
	t.Helper()
	ns, err := netns.GetFromPath(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func wantNamespace(t *testing.T, path string, pid int) {
	t.Helper()
	got, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(got, want) {
		t.Errorf("%s is not the network namespace of process %d", path, pid)
	}
}

// wantMounts counts the mounts on a file of that name. Each is there twice if
// its directory was mounted onto itself, once below and once above: a peer.
func wantMounts(t *testing.T, name string, want int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(text), "/"+name+" "); got != want {
		t.Errorf("%d mounts on %s, want %d:\n%s", got, name, want, text)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
