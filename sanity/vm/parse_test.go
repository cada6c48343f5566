package main

import (
	"bytes"
	"os/exec"
	"testing"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"1K": 1 << 10, "64M": 64 << 20, "4G": 4 << 30, "2T": 2 << 40,
		"": 0, "4": 0, "G": 0, "0G": 0, "-1G": 0, "4GiB": 0, "4X": 0, "99999999999T": 0,
	} {
		if got, err := parseSize(text); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestDestination(t *testing.T) {
	gets := []string{"/results:/home/me/r", "/var/log/one", "/results2:there"}
	for name, want := range map[string]string{
		"results/": "/home/me/r", "results/a/b": "/home/me/r/a/b", "var/log/one": "one", "results2/x": "there/x",
		"results/../etc/passwd": "", "var/log/other": "", "var/log/one2": "",
	} {
		if got, err := destination(gets, name); got != want || (err == nil) != (want != "") {
			t.Errorf("%q goes to %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestPlace(t *testing.T) {
	for file, want := range map[string]string{
		"/bin/mount": "/usr/bin/mount", "/lib64/ld-linux-x86-64.so.2": "/usr/lib64/ld-linux-x86-64.so.2",
		"/usr/sbin/lvm": "/usr/sbin/lvm", "/library/x": "/library/x", "/a/../lib/x": "/usr/lib/x",
	} {
		if got := place(file); got != want {
			t.Errorf("%s is placed at %s, want %s", file, got, want)
		}
	}
}

// TestArchiveIsOneForCpio has cpio check what the kernel checks less of.
func TestArchiveIsOneForCpio(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip("no cpio here")
	}
	var out bytes.Buffer
	a := newArchive(&out)
	a.text("/deep/er/file", 0o644, "five!")
	a.link("/deep/link", "er/file")
	a.dir("/deep")
	if err := a.close(); err != nil || out.Len()%512 != 0 {
		t.Fatalf("%d bytes, %v", out.Len(), err)
	}
	cmd := exec.Command("cpio", "--extract", "--make-directories", "--quiet")
	cmd.Dir, cmd.Stdin = t.TempDir(), bytes.NewReader(out.Bytes())
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v: %s", err, said)
	}
	content, err := exec.Command("cat", cmd.Dir+"/deep/link").Output()
	if err != nil || string(content) != "five!" {
		t.Errorf("the file reads as %q, %v", content, err)
	}
}
