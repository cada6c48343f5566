package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// TestImage writes one of a root with a file, a link and a command that would run as its owner, and reads it back.
func TestImage(t *testing.T) {
	root, binary := t.TempDir(), filepath.Join(t.TempDir(), "loam")
	for name, mode := range map[string]os.FileMode{"etc/config": 0o640, "usr/bin/su": 0o755 | os.ModeSetuid} {
		file := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(name), 0o600), os.Chmod(file, mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("usr/bin", filepath.Join(root, "bin")), os.WriteFile(binary, []byte("loam"), 0o755)); err != nil {
		t.Fatal(err)
	}
	first, second, named := filepath.Join(t.TempDir(), "a.tar"), filepath.Join(t.TempDir(), "b.tar"), filepath.Join(t.TempDir(), "named.tar")
	for out, names := range map[string][]string{first: {"example.com/loam:1"}, second: {"example.com/loam:1"}, named: {"example.com/loam:1", "example.com/loam:2"}} {
		if err := write(out, names, v1.Config{Entrypoint: []string{"/usr/bin/loam"}}, root, []string{binary + ":/usr/bin/loam"}, []string{"loam:/usr/bin/other"}); err != nil {
			t.Fatal(err)
		}
	}
	a, errA := os.ReadFile(first)
	b, errB := os.ReadFile(second)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("of the same content two images were made")
	}
	index, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(named) })
	if err != nil || len(index) != 1 || strings.Join(slices.Sorted(slices.Values(index[0].RepoTags)), " ") != "example.com/loam:1 example.com/loam:2" {
		t.Fatalf("names: %+v, %v", index, err)
	}
	image, err := tarball.ImageFromPath(first, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Architecture != runtime.GOARCH || config.OS != "linux" || config.Config.Entrypoint[0] != "/usr/bin/loam" {
		t.Errorf("configuration: %+v", config)
	}
	want := map[string]string{
		"bin": "-> usr/bin", "etc/": "755", "etc/config": "640 etc/config", "usr/": "755", "usr/bin/": "755",
		"usr/bin/loam": "755 loam", "usr/bin/other": "-> loam", "usr/bin/su": "755 usr/bin/su",
	}
	got := content(t, image)
	for name, is := range want {
		if got[name] != is {
			t.Errorf("%s: %q, want %q", name, got[name], is)
		}
	}
	if len(got) != len(want) {
		t.Errorf("the image has %v", got)
	}
}

// content returns what an image has: the mode and the text of each file, or where a link leads.
func content(t *testing.T, image v1.Image) map[string]string {
	t.Helper()
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	stream, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	found := map[string]string{}
	for entries := tar.NewReader(stream); ; {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() > 0 {
			t.Errorf("%s belongs to %d:%d and is of %v", h.Name, h.Uid, h.Gid, h.ModTime)
		}
		text, err := io.ReadAll(entries)
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeSymlink:
			found[h.Name] = "-> " + h.Linkname
		default:
			found[h.Name] = strings.TrimSpace(fmt.Sprintf("%o", h.Mode) + " " + string(text))
		}
	}
}
