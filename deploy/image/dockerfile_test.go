package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// TestDockerfileMakesTheSameImages runs the COPY and RUN lines of the Dockerfile over a root that debootstrap makes, with
// the Go of this machine, and compares the files with those of the images that build makes: their names, modes and links.
//
// What it does not cover: the base images, of which only apt, a shell and Go are used, the version that is linked in, and what
// docker itself does.
func TestDockerfileMakesTheSameImages(t *testing.T) {
	if os.Getenv("FULL") != "yes" {
		t.Skip("SKIPPED: it takes minutes: FULL=yes runs it")
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: it needs root, for chroot")
	}
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	base := filepath.Join(work, "base")
	run(t, "apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "debootstrap")
	run(t, "debootstrap", "--variant=minbase", "bookworm", base)
	d := docker{t: t, repository: repository, base: base, work: work, stages: map[string]string{}}
	d.build()

	run(t, "./build", filepath.Join(work, "images"), "example.com/loam:test")
	for stage, archive := range map[string]string{"node": "loam.tar", "controller": "loam-controller.tar"} {
		image, err := tarball.ImageFromPath(filepath.Join(work, "images", archive), nil)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{}
		for name, is := range content(t, image) {
			if !strings.HasPrefix(is, "-> ") {
				is, _, _ = strings.Cut(is, " ") // the mode
			}
			want[strings.TrimSuffix(name, "/")] = is
		}
		got := d.files(d.stages[stage])
		for name, is := range want {
			if got[name] != is {
				t.Errorf("%s: %s is %q in the image of build, %q in that of the Dockerfile", stage, name, is, got[name])
			}
		}
		for name, is := range got {
			if _, also := want[name]; !also {
				t.Errorf("%s: only the image of the Dockerfile has %s, %q", stage, name, is)
			}
		}
		if len(want) == 0 || want["usr/bin/loam"] != "755" {
			t.Errorf("%s: the image of build has %d files", stage, len(want))
		}
		t.Logf("%s: %d files", stage, len(want))
	}
}

// docker carries out a Dockerfile as far as that of loam needs.
type docker struct {
	t                      *testing.T
	repository, base, work string
	args                   []string          // KEY=VALUE
	stages                 map[string]string // root directory of each
	root, directory        string            // of the stage that is built
}

func (d *docker) build() {
	file, err := os.Open("Dockerfile")
	if err != nil {
		d.t.Fatal(err)
	}
	defer file.Close()
	parsed, err := parser.Parse(file)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, line := range parsed.AST.Children {
		var words []string
		for word := line.Next; word != nil; word = word.Next {
			words = append(words, word.Value)
		}
		switch keyword := strings.ToUpper(line.Value); keyword {
		case "ARG":
			d.args = append(d.args, words...)
		case "FROM":
			d.from(words)
		case "WORKDIR":
			d.directory = words[0]
			d.must(os.MkdirAll(filepath.Join(d.root, d.directory), 0o755))
		case "COPY":
			d.copy(line.Flags, words[:len(words)-1], words[len(words)-1])
		case "RUN":
			d.run(words[0])
		case "ENTRYPOINT":
		default:
			d.t.Fatalf("line %d: this test does not know %s", line.StartLine, keyword)
		}
	}
}

func (d *docker) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// from begins a stage: FROM image AS name.
func (d *docker) from(words []string) {
	d.root, d.directory = filepath.Join(d.work, "stage-"+words[2]), "/"
	d.stages[words[2]] = d.root
	if words[0] == "scratch" {
		d.must(os.Mkdir(d.root, 0o755))
		return
	}
	run(d.t, "cp", "--archive", d.base, d.root)
	// What a builder has of its machine: the network, where packages and modules come from, and Go.
	for _, path := range []string{"/etc/resolv.conf", "/etc/hosts", "/etc/apt", "/etc/ssl/certs"} {
		if _, err := os.Stat(path); err == nil {
			d.must(os.MkdirAll(filepath.Join(d.root, filepath.Dir(path)), 0o755))
			d.must(os.RemoveAll(filepath.Join(d.root, path)))
			run(d.t, "cp", "--archive", "--dereference", path, filepath.Join(d.root, path))
		}
	}
	d.must(os.RemoveAll(filepath.Join(d.root, "etc/apt/sources.list.d")))
	d.must(os.RemoveAll(filepath.Join(d.root, "etc/apt/sources.list")))
	sources := "deb http://deb.debian.org/debian bookworm main\ndeb http://deb.debian.org/debian bookworm-updates main\ndeb http://deb.debian.org/debian-security bookworm-security main\n"
	d.must(os.WriteFile(filepath.Join(d.root, "etc/apt/sources.list"), []byte(sources), 0o644))
	for _, directory := range []string{"usr/local/go", "modules"} {
		d.must(os.MkdirAll(filepath.Join(d.root, directory), 0o755))
	}
}

// copy puts what sources name into the stage, from the repository or, with --from, from another stage.
func (d *docker) copy(flags, sources []string, to string) {
	from := d.repository
	for _, flag := range flags {
		stage, ok := strings.CutPrefix(flag, "--from=")
		if !ok || d.stages[stage] == "" {
			d.t.Fatalf("this test does not know COPY %s", flag)
		}
		from = d.stages[stage]
	}
	into := filepath.Join(d.root, d.directory, to)
	if strings.HasPrefix(to, "/") {
		into = filepath.Join(d.root, to)
	}
	if strings.HasSuffix(to, "/") || to == "." {
		d.must(os.MkdirAll(into, 0o755))
	}
	d.must(os.MkdirAll(filepath.Dir(into), 0o755))
	for _, source := range sources {
		path := filepath.Join(from, source)
		info, err := os.Stat(path)
		d.must(err)
		args := []string{"--archive", "--no-target-directory", path, into}
		switch {
		case !info.IsDir() && strings.HasSuffix(to, "/"), !info.IsDir() && to == ".":
			args = []string{"--archive", "--target-directory", into, path}
		case info.IsDir() && from == d.repository:
			d.context(into)
			continue
		}
		run(d.t, "cp", args...)
	}
}

// context copies the repository, without what Dockerfile.dockerignore leaves out.
func (d *docker) context(into string) {
	ignored, err := os.ReadFile("Dockerfile.dockerignore")
	d.must(err)
	args := []string{"-C", d.repository, "-c", "-f", filepath.Join(d.work, "context.tar")}
	for line := range strings.Lines(string(ignored)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			args = append(args, "--exclude=./"+strings.TrimSuffix(line, "/"))
		}
	}
	run(d.t, "tar", append(args, ".")...)
	run(d.t, "tar", "-C", into, "-x", "-f", filepath.Join(d.work, "context.tar"))
}

// run runs a command in the stage, in a mount namespace of its own, so that nothing stays mounted.
func (d *docker) run(command string) {
	goroot, modules := output(d.t, "go", "env", "GOROOT"), output(d.t, "go", "env", "GOMODCACHE")
	script := `set -e
mount --bind "$2" "$1/usr/local/go" && mount --bind "$3" "$1/modules" && mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev"
cd / && exec chroot "$1" /bin/sh -c 'cd "$0" && eval "$1"' "$4" "$5"`
	c := exec.Command("unshare", "--mount", "sh", "-c", script, "sh", d.root, goroot, modules, d.directory, command)
	c.Env = append(os.Environ(), "PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "GOMODCACHE=/modules", "GOCACHE=/tmp/go-build",
		"GOPROXY="+output(d.t, "go", "env", "GOPROXY"), "DEBIAN_FRONTEND=noninteractive")
	c.Env = append(c.Env, slices.DeleteFunc(slices.Clone(d.args), func(arg string) bool { return !strings.Contains(arg, "=") })...)
	if out, err := c.CombinedOutput(); err != nil {
		d.t.Fatalf("RUN %s: %v\n%s", command, err, out[max(0, len(out)-4000):])
	}
}

// files lists a stage as an image has it: the mode of each file, or where a link leads.
func (d *docker) files(root string) map[string]string {
	found := map[string]string{}
	d.must(filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			found[name] = "-> " + target
			return err
		}
		mode := uint32(info.Mode().Perm())
		for bit, octal := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
			if info.Mode()&bit != 0 {
				mode |= octal
			}
		}
		found[name] = fmt.Sprintf("%o", mode)
		return nil
	}))
	return found
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out[max(0, len(out)-4000):])
	}
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}
