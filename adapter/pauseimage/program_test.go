// SPDX-License-Identifier: Apache-2.0

package pauseimage

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// programs is every program with what its ELF header must say and what runs it
// on another machine. A segment aligned to the largest page of its architecture
// loads under every kernel of it.
var programs = []struct {
	architecture string
	content      []byte
	machine      elf.Machine
	largestPage  uint64
	emulator     string
}{
	{"amd64", programAMD64, elf.EM_X86_64, 4 << 10, "qemu-x86_64-static"},
	{"arm64", programARM64, elf.EM_AARCH64, 64 << 10, "qemu-aarch64-static"},
}

func TestProgramIsSmallAndStatic(t *testing.T) {
	for _, p := range programs {
		t.Run(p.architecture, func(t *testing.T) {
			if len(p.content) > 4<<10 {
				t.Errorf("%d bytes, want at most 4 KiB", len(p.content))
			}
			f, err := elf.NewFile(bytes.NewReader(p.content))
			if err != nil {
				t.Fatal(err)
			}
			if f.Machine != p.machine || f.Type != elf.ET_EXEC {
				t.Errorf("%v for %v, want an executable for %v", f.Type, f.Machine, p.machine)
			}
			for _, segment := range f.Progs {
				switch segment.Type {
				case elf.PT_LOAD:
					if segment.Flags&elf.PF_W != 0 || segment.Align%p.largestPage != 0 {
						t.Errorf("segment %+v, want it read-only and aligned to %d", segment.ProgHeader, p.largestPage)
					}
				case elf.PT_GNU_STACK:
					if segment.Flags&elf.PF_X != 0 {
						t.Error("the stack is executable")
					}
				default:
					t.Errorf("segment of type %v: the program is not static", segment.Type)
				}
			}
		})
	}
}

// TestProgramIsReproducible builds the programs again and compares them byte
// for byte. Other compilers give other programs, hence the recorded versions.
func TestProgramIsReproducible(t *testing.T) {
	for _, compiler := range []string{"x86_64-linux-gnu-gcc", "aarch64-linux-gnu-gcc"} {
		if _, err := exec.LookPath(compiler); err != nil {
			t.Skipf("no %s here: apt-get install gcc gcc-aarch64-linux-gnu", compiler)
		}
	}
	out := t.TempDir()
	if output, err := exec.Command("program/build.sh", out).CombinedOutput(); err != nil {
		t.Fatalf("program/build.sh: %v\n%s", err, output)
	}
	here, recorded := read(t, filepath.Join(out, "compilers.txt")), read(t, "program/compilers.txt")
	if !bytes.Equal(here, recorded) {
		t.Skipf("the programs were built with other compilers:\n%sthose here are:\n%s", recorded, here)
	}
	for _, p := range programs {
		if !bytes.Equal(read(t, filepath.Join(out, "pause-"+p.architecture)), p.content) {
			t.Errorf("pause-%s is not what program/pause.c becomes: run program/build.sh", p.architecture)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
