// Command make makes the pools in sanity/compat/testdata with the loam of an earlier commit.
//
//	go run ./sanity/compat/make [-commit 4311d95] [POOL...]
//
// It builds that commit from the history of this repository, and needs root, for loop pools, and what `make test-lvm`
// needs, for LVM pools are made in a VM. What the archives hold depends on the day and on random UUIDs, so that making one
// again makes another.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/loam-storage/loam/sanity/compat"
	"github.com/loam-storage/loam/sanity/scratch"
)

func main() {
	commit := flag.String("commit", "4311d95", "the `commit` that makes the pools")
	out := flag.String("out", "sanity/compat/testdata", "`folder` of the archives")
	binary := flag.String("loam", "", "its loam, in place of one that is built")
	inGuest := flag.Bool("guest", false, "this is the VM: make the pool on its disk, and only the manifest")
	flag.Parse()
	if err := run(*commit, *out, *binary, *inGuest, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "make:", err)
		os.Exit(1)
	}
}

func run(commit, out, binary string, inGuest bool, names []string) (err error) {
	dir, err := os.MkdirTemp("/var/tmp", "loam-compat-")
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
		}
	}()
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if binary == "" {
		binary = filepath.Join(dir, "loam")
		if err := build(commit, dir, binary); err != nil {
			return err
		}
	}
	if binary, err = filepath.Abs(binary); err != nil {
		return err
	}
	for _, p := range pools {
		if len(names) > 0 && !slices.Contains(names, p.name) {
			continue
		}
		m := &maker{pool: p, dir: filepath.Join(dir, p.name), manifest: compat.Manifest{Commit: commit, Config: p.config}}
		m.driver.Binary = binary
		archive := filepath.Join(out, commit+"-"+p.name)
		switch {
		case inGuest:
			err = m.make(context.Background(), archive)
		case p.group != "":
			err = inVM(dir, binary, commit, p, archive)
		default:
			if err = m.make(context.Background(), archive); err == nil {
				err = compat.Pack(m.packed(), archive+".tar.gz")
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// build builds the loam of a commit from the history of this repository.
func build(commit, dir, binary string) error {
	return scratch.Run("sh", "-c", `mkdir "$2/source" && git archive "$1" | tar -x -C "$2/source" && cd "$2/source" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$3" ./cmd/loam`,
		"sh", commit, dir, binary)
}

// inVM makes an LVM pool on the disk of a VM, and packs the disk.
func inVM(dir, binary, commit string, p pool, archive string) error {
	vm, self, disks := filepath.Join(dir, "vm"), filepath.Join(dir, "make"), filepath.Join(dir, p.name+"-disks")
	return errors.Join(
		scratch.Run("go", "build", "-o", vm, "./sanity/vm"),
		scratch.Run("env", "CGO_ENABLED=0", "go", "build", "-o", self, "./sanity/compat/make"),
		scratch.Run(vm, "-disk", p.disk, "-keep-disks", disks, "-timeout", "20m", "-file", binary, "-get", "/scratch/out/"+commit+"-"+p.name+".json:"+archive+".json", "--",
			self, "-guest", "-commit", commit, "-loam", binary, "-out", "/scratch/out", p.name),
		compat.Pack(disks, archive+".tar.gz"),
	)
}
