// Command image writes a container image without a registry or a daemon, as an archive that "ctr images import" and
// "docker load" read.
//
//	image -name docker.io/loamstorage/loam:dev -root DIR -file bin/loam:/usr/bin/loam -entrypoint /usr/bin/loam OUT.tar
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func main() {
	var names, files, links, entrypoint, cmd, env list
	root := flag.String("root", "", "directory whose tree is the image's")
	user := flag.String("user", "", "user that the image runs as")
	flag.Var(&names, "name", "name of the image with its tag; once for each")
	flag.Var(&files, "file", "FILE:PATH, a file to put in; once for each")
	flag.Var(&links, "link", "TARGET:PATH, a symbolic link to put in; once for each")
	flag.Var(&entrypoint, "entrypoint", "the command; once for each word")
	flag.Var(&cmd, "cmd", "its default arguments; once for each word")
	flag.Var(&env, "env", "KEY=VALUE; once for each")
	flag.Parse()
	if flag.NArg() != 1 || len(names) == 0 {
		flag.Usage()
		os.Exit(2)
	}
	config := v1.Config{Entrypoint: entrypoint, Cmd: cmd, User: *user,
		Env: append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, env...)}
	if err := write(flag.Arg(0), names, config, *root, files, links); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func write(out string, names []string, config v1.Config, root string, files, links []string) error {
	tree := newTree()
	if root != "" {
		if err := tree.addRoot(root); err != nil {
			return err
		}
	}
	for _, f := range files {
		from, to, _ := strings.Cut(f, ":")
		if err := tree.addFile(from, to); err != nil {
			return err
		}
	}
	for _, l := range links {
		target, to, _ := strings.Cut(l, ":")
		tree.addLink(target, to)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return tree.read() })
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return err
	}
	file = file.DeepCopy()
	file.Config, file.OS, file.Architecture = config, "linux", runtime.GOARCH
	if image, err = mutate.ConfigFile(image, file); err != nil {
		return err
	}
	images := map[name.Reference]v1.Image{}
	for _, n := range names {
		tag, err := name.NewTag(n)
		if err != nil {
			return err
		}
		images[tag] = image
	}
	return tarball.MultiRefWriteToFile(out, images)
}

// tree is what an image contains: by path, in the order of which it is written, so that the same content gives
// the same image.
type tree struct {
	headers map[string]*tar.Header
	from    map[string]string // file with the content
}

func newTree() *tree { return &tree{headers: map[string]*tar.Header{}, from: map[string]string{}} }

func (t *tree) addRoot(root string) error {
	return filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || file == root {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		target := ""
		if info.Mode()&fs.ModeSymlink != 0 {
			if target, err = os.Readlink(file); err != nil {
				return err
			}
		}
		header, err := tar.FileInfoHeader(info, target)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		t.add(relative, header, file)
		return nil
	})
}

func (t *tree) addFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	header, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return err
	}
	t.add(to, header, from)
	return nil
}

func (t *tree) addLink(target, to string) {
	t.add(to, &tar.Header{Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}, "")
}

// add puts an entry in, with the directories above it. Nobody owns it but root, it has no age, and it gives no rights
// to who runs it.
func (t *tree) add(to string, header *tar.Header, from string) {
	to = strings.TrimPrefix(path.Clean("/"+to), "/")
	for up := path.Dir(to); up != "."; up = path.Dir(up) {
		if t.headers[up] == nil {
			t.headers[up] = &tar.Header{Name: up + "/", Typeflag: tar.TypeDir, Mode: 0o755}
		}
	}
	*header = tar.Header{Name: to, Typeflag: header.Typeflag, Linkname: header.Linkname, Mode: header.Mode &^ 0o6000, Size: header.Size}
	if header.Typeflag == tar.TypeDir {
		header.Name += "/"
	}
	t.headers[to], t.from[to] = header, from
}

func (t *tree) read() (io.ReadCloser, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, name := range slices.Sorted(maps.Keys(t.headers)) {
		header := t.headers[name]
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if err := copyFile(w, t.from[name]); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return io.NopCloser(&layer), nil
}

func copyFile(w io.Writer, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, file)
	return errors.Join(err, file.Close())
}
