package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tree makes a /sys of the given files, and links to each device in class/block.
func tree(t *testing.T, files map[string]string) blockTree {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "class/block"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(root, "devices", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if to, ok := strings.CutPrefix(text, "-> "); ok {
			if err := os.Symlink(filepath.Join(root, "devices", to), path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if filepath.Base(name) == "dev" {
			dir := filepath.Dir(path)
			if err := os.Symlink(dir, filepath.Join(root, "class/block", filepath.Base(dir))); err != nil {
				t.Fatal(err)
			}
		}
	}
	return blockTree{sys: root, dev: filepath.Join(root, "dev"), files: func(string) (FileID, DeviceNumber, error) {
		return FileID{}, DeviceNumber{}, unix.EIO
	}}
}

func TestBlockDevicesSayWhatTheyLieOn(t *testing.T) {
	files := map[string]string{
		"sda/dev": "8:0", "sda/size": "2048", "sda/queue/logical_block_size": "4096",
		"sda/sda1/dev": "8:1", "sda/sda1/size": "1024", "sda/sda1/partition": "1",
		"md0/dev": "9:0", "md0/size": "1024", "md0/queue/logical_block_size": "512", "md0/slaves/sda1": "-> sda/sda1",
		"dm-0/dev": "253:0", "dm-0/size": "1024", "dm-0/dm/name": "vg-lv", "dm-0/dm/uuid": "LVM-x", "dm-0/slaves/md0": "-> md0",
		"loop0/dev": "7:0", "loop0/size": "8", "loop0/loop/backing_file": "/a b/image (deleted)",
		"loop1/dev": "7:1", "loop1/size": "8", "loop1/loop/backing_file": "/x",
		"loop2/dev": "7:2", "loop2/size": "8", "loop2/loop/backing_file": "/dev/sda",
		"loop3/dev": "7:3", "loop3/size": "8", "loop3/loop/backing_file": "/on/the/network",
		"loop4/dev": "7:4", "loop4/size": "0",
		"going/dev": "1:1", // it has no size any more
		"odd/dev":   "x", "odd/size": "1",
	}
	b := tree(t, files)
	hangs := make(chan struct{})
	defer close(hangs)
	b.files = func(node string) (FileID, DeviceNumber, error) {
		switch filepath.Base(node) {
		case "loop1":
			return FileID{Device: unix.Mkdev(253, 0), Inode: 7}, DeviceNumber{}, nil
		case "loop2":
			return FileID{Device: unix.Mkdev(0, 5), Inode: 8}, DeviceNumber{8, 0}, nil
		case "loop3":
			<-hangs
		}
		return FileID{}, DeviceNumber{}, unix.EIO
	}
	all, err := b.read()
	b.readFiles(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range all {
		line := fmt.Sprintf("%s %s %d %d %v %q %q", d.Name, d.Number, d.SizeBytes, d.BlockBytes, d.Below, d.MapperName, d.MapperUUID)
		if d.File != nil {
			line += fmt.Sprintf(" %+v", *d.File)
		}
		got = append(got, line)
	}
	want := []string{
		`dm-0 253:0 524288 0 [9:0] "vg-lv" "LVM-x"`,
		`loop0 7:0 4096 0 [] "" "" {Path:/a b/image Deleted:true ID:{Device:0 Inode:0} Hung:false Hidden:false}`,
		fmt.Sprintf(`loop1 7:1 4096 0 [253:0] "" "" {Path:/x Deleted:false ID:{Device:%d Inode:7} Hung:false Hidden:false}`, unix.Mkdev(253, 0)),
		fmt.Sprintf(`loop2 7:2 4096 0 [8:0] "" "" {Path:/dev/sda Deleted:false ID:{Device:%d Inode:8} Hung:false Hidden:false}`, unix.Mkdev(0, 5)),
		`loop3 7:3 4096 0 [] "" "" {Path:/on/the/network Deleted:false ID:{Device:0 Inode:0} Hung:true Hidden:false}`,
		`loop4 7:4 0 0 [] "" ""`,
		`md0 9:0 524288 512 [8:1] "" ""`,
		`sda 8:0 1048576 4096 [] "" ""`,
		`sda1 8:1 524288 4096 [8:0] "" ""`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("they are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A file is on the file system that its number says, or that is mounted where it is.
func TestTheDeviceOfAFile(t *testing.T) {
	if on, hidden := fileSystemDevices(FileID{Device: unix.Mkdev(254, 3), Inode: 1}, "/nowhere"); hidden || !slices.Equal(on, []DeviceNumber{{254, 3}}) {
		t.Errorf("a file on a device: %v, %t", on, hidden)
	}
	if on, hidden := fileSystemDevices(FileID{Device: unix.Mkdev(0, 1<<18), Inode: 1}, "/nowhere"); !hidden || on != nil {
		t.Errorf("a file on what is not mounted here: %v, %t", on, hidden)
	}
	id, _, err := Identify("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if on, hidden := fileSystemDevices(id, "/nowhere"); hidden || on != nil {
		t.Errorf("a file on no device: %v, %t", on, hidden)
	}
}

// The real machine has loop devices, of other tests too, and what it says of them is what their ioctl says.
func TestBlockDevicesOfThisMachine(t *testing.T) {
	h := New(NewRunner())
	all, err := h.BlockDevices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if d.Path == "" {
			continue
		}
		there, err := h.Device(d.Path)
		if err == nil && there.Number != d.Number || err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %+v, %v", d.Path, there, err)
		}
	}
}
