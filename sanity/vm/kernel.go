package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// kernelPackage is Debian's smallest kernel with all of device-mapper. It names the one of the day.
const kernelPackage = "linux-image-cloud-amd64"

// modules are those that tests use, without what they depend on. A path that ends in / takes in what is
// below it: the kernel asks for these by alias as it goes.
const modules = `
	virtio_pci virtio_blk virtio_console virtio_rng loop overlay ext4 xfs btrfs
	dm-mod dm-thin-pool dm-snapshot dm-mirror dm-raid dm-crypt dm-integrity dm-flakey dm-delay dm-zero dm-log-writes
	dm-writecache dm-cache dm-cache-smq dm-verity raid0 raid1 raid10 raid456 null_blk
	crypto/ lib/ arch/x86/crypto/`

// kernel is a kernel package unpacked.
type kernel struct {
	dir     string // of this one only
	release string // as uname -r says it
}

func (k kernel) image() string   { return filepath.Join(k.dir, "vmlinux") }
func (k kernel) modules() string { return filepath.Join(k.dir, "lib/modules", k.release) }

// fetchKernel gives the kernel in dir, and gets it there if there is none.
func fetchKernel(dir string) (kernel, error) {
	dir = filepath.Join(dir, "kernel")
	if k, err := openKernel(dir); err == nil {
		return k, nil
	}
	note("fetching the kernel of %s", kernelPackage)
	work, err := os.MkdirTemp(filepath.Dir(dir), "kernel.new-")
	if err != nil {
		return kernel{}, err
	}
	defer func() { _ = os.RemoveAll(work) }()
	err = downloadKernel(work)
	if err != nil && os.Getuid() == 0 { // where the lists are missing, or older than the mirror
		if err = run(work, "apt-get", "update", "-q"); err == nil {
			err = downloadKernel(work)
		}
	}
	if err != nil {
		return kernel{}, fmt.Errorf("cannot fetch the kernel (as root, apt-get update may help): %w", err)
	}
	if err := unpackKernel(work); err != nil {
		return kernel{}, err
	}
	if err := errors.Join(os.RemoveAll(dir), os.Rename(work, dir)); err != nil {
		return kernel{}, err
	}
	return openKernel(dir)
}

func openKernel(dir string) (kernel, error) {
	found, err := filepath.Glob(filepath.Join(dir, "lib/modules/*"))
	if err != nil || len(found) != 1 {
		return kernel{}, fmt.Errorf("no kernel in %s: modules of %q", dir, found)
	}
	k := kernel{dir, filepath.Base(found[0])}
	_, err = os.Stat(k.image())
	return k, err
}

func downloadKernel(work string) error {
	said, err := output(work, "apt-cache", "depends", kernelPackage)
	if err != nil {
		return err
	}
	for _, word := range strings.Fields(said) {
		if strings.HasPrefix(word, "linux-image-") && word != kernelPackage {
			return run(work, "apt-get", "download", "-q", word)
		}
	}
	return fmt.Errorf("apt-cache depends %s names no kernel: %q", kernelPackage, said)
}

// unpackKernel leaves vmlinux and the modules of the package in work.
func unpackKernel(work string) error {
	debs, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("apt-get download left %q in %s", debs, work)
	}
	if err := run(work, "dpkg-deb", "-x", debs[0], work); err != nil {
		return err
	}
	images, err := filepath.Glob(filepath.Join(work, "boot/vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return fmt.Errorf("%s has the kernels %q", debs[0], images)
	}
	packed, err := os.ReadFile(images[0])
	if err != nil {
		return err
	}
	image, err := unpackImage(packed)
	if err != nil {
		note("the kernel boots packed, which is slower: %v", err)
		image = packed
	}
	release := strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")
	return errors.Join(
		os.WriteFile(filepath.Join(work, "vmlinux"), image, 0o600),
		run(work, "busybox", "depmod", "-b", work, release),
		os.Remove(debs[0]),
		os.RemoveAll(filepath.Join(work, "boot")))
}

// unpackImage takes the ELF kernel out of a bzImage, so that the guest's slow processor need not. Where
// it is, the setup header says: Documentation/arch/x86/boot.rst. The last 4 bytes of the payload are its
// size unpacked.
func unpackImage(packed []byte) ([]byte, error) {
	const setupSectors, magic, payloadOffset, payloadLength, end = 0x1f1, 0x202, 0x248, 0x24c, 0x250
	if len(packed) < end || !bytes.HasPrefix(packed[magic:], []byte("HdrS")) {
		return nil, errors.New("it is no bzImage")
	}
	from := (int(packed[setupSectors])+1)*512 + int(binary.LittleEndian.Uint32(packed[payloadOffset:]))
	to := from + int(binary.LittleEndian.Uint32(packed[payloadLength:])) - 4
	if from >= to || to+4 > len(packed) {
		return nil, errors.New("its payload lies outside of it")
	}
	if !bytes.HasPrefix(packed[from:to], []byte{0x02, 0x21, 0x4c, 0x18}) {
		return nil, errors.New("it is not packed with LZ4")
	}
	unpack := exec.Command("lz4", "-d", "-c")
	unpack.Stdin = bytes.NewReader(packed[from:to])
	image, err := unpack.Output()
	if err != nil {
		return nil, fmt.Errorf("lz4: %w", err)
	}
	if !bytes.HasPrefix(image, []byte("\x7fELF")) {
		return nil, errors.New("what it unpacks to is no ELF file")
	}
	return image, nil
}

// addModules puts the modules into the archive, with those they depend on.
func addModules(a *archive, k kernel, work string) error {
	list, err := os.ReadFile(filepath.Join(k.modules(), "modules.dep"))
	if err != nil {
		return err
	}
	root := "lib/modules/" + k.release
	err = os.MkdirAll(filepath.Join(work, root), 0o700)
	for line := range strings.Lines(string(list)) {
		file, needs, _ := strings.Cut(line, ":")
		if !wanted(file) {
			continue
		}
		for _, one := range append(strings.Fields(needs), file) {
			to := filepath.Join(work, root, one)
			err = errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o700))
			if e := os.Link(filepath.Join(k.modules(), one), to); e != nil && !errors.Is(e, os.ErrExist) {
				err = errors.Join(err, e)
			}
		}
	}
	if err != nil {
		return err
	}
	for _, name := range []string{"modules.order", "modules.builtin", "modules.builtin.modinfo"} {
		if err := os.Link(filepath.Join(k.modules(), name), filepath.Join(work, root, name)); err != nil {
			return err
		}
	}
	if err := run(work, "busybox", "depmod", "-b", work, k.release); err != nil {
		return err
	}
	a.copy(filepath.Join(work, root), "/usr/"+root)
	return a.err
}

// wanted tells whether a module file, with its path below the release's folder, is one of modules.
func wanted(file string) bool {
	name, _, _ := strings.Cut(filepath.Base(file), ".ko")
	for _, m := range strings.Fields(modules) {
		if strings.HasSuffix(m, "/") && strings.HasPrefix(file, "kernel/"+m) {
			return true
		}
		if strings.ReplaceAll(m, "-", "_") == strings.ReplaceAll(name, "-", "_") {
			return true
		}
	}
	return false
}
