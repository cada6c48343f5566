package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
)

// TestManifestIsTheChart: who does not use Helm gets the same.
func TestManifestIsTheChart(t *testing.T) {
	want, err := defaultManifests()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(manifestFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the chart gives now: make manifests", manifestFile)
	}
}

// TestManifestIsValid reads each object of the file as the API server would.
func TestManifestIsValid(t *testing.T) {
	file, err := os.ReadFile(manifestFile)
	if err != nil {
		t.Fatal(err)
	}
	c := cluster{T: t}
	for _, m := range strings.Split(string(file), "\n---\n") {
		c.objects = append(c.objects, decode(t, m))
	}
	if _, ok := c.objects[0].(*core.Namespace); !ok {
		t.Errorf("the file begins with a %T: what is in the namespace cannot be made before it", c.objects[0])
	}
	seen := map[string]bool{}
	for _, o := range c.objects {
		kind := o.GetObjectKind().GroupVersionKind().Kind
		if key := kind + " " + o.GetName(); seen[key] {
			t.Errorf("there are two of %s", key)
		} else {
			seen[key] = true
		}
		clusterWide := []string{"Namespace", "ClusterRole", "ClusterRoleBinding", "CSIDriver", "StorageClass", "VolumeSnapshotClass", "VolumeGroupSnapshotClass"}
		want := namespace
		if slices.Contains(clusterWide, kind) {
			want = ""
		}
		same(t, "namespace of "+kind+" "+o.GetName(), o.GetNamespace(), want)
	}
	same(t, "number of StatefulSets", len(all[*apps.StatefulSet](c)), 1)
	same(t, "number of DaemonSets", len(all[*apps.DaemonSet](c)), 1)
	same(t, "CSIDrivers", names[*storage.CSIDriver](c), "loam.storage")
}

// TestExamples: each example is objects that the API has, of classes that the chart makes, with the one image that it says.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no examples: %v", err)
	}
	classes := names[*storage.StorageClass](with(t, ""))
	images := regexp.MustCompile(`image: (\S+)`)
	storageClasses := regexp.MustCompile(`[cC]lassName: (\S+)`)
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			file, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(file, []byte("# ")) {
				t.Error("it does not begin with what it is an example of")
			}
			for _, m := range strings.Split(string(file), "\n---\n") {
				decode(t, m)
			}
			for _, found := range images.FindAllSubmatch(file, -1) {
				same(t, "image", string(found[1]), "registry.k8s.io/e2e-test-images/busybox:1.37.0-2")
			}
			for _, found := range storageClasses.FindAllSubmatch(file, -1) {
				same(t, "class", string(found[1]), classes)
			}
		})
	}
}

// TestLoamTakesWhatTheChartGives builds loam, and asks it.
func TestLoamTakesWhatTheChartGives(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "loam")
	build := exec.Command("go", "build", "-o", binary, "./cmd/loam")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build loam: %v: %s", err, out)
	}
	t.Run("arguments", func(t *testing.T) { argumentsAreKnown(t, binary) })
	t.Run("configuration", func(t *testing.T) { configurationIsKnown(t, binary) })
}

// argumentsAreKnown: with --help loam says what it would do, after it has read the other flags.
func argumentsAreKnown(t *testing.T, binary string) {
	if out, err := exec.Command(binary, "node", "--no-such-flag", "--help").CombinedOutput(); err == nil {
		t.Fatalf("loam takes any flag, so this shows nothing: %s", out)
	}
	c := with(t, "controller: {certificateSecret: mine, certificateConfigMap: ours, extraArgs: [-v=1]}\nnode: {extraArgs: [-v=1]}")
	for what, pod := range map[string]core.PodSpec{"controller": c.controller(), "node": c.node()} {
		args := container(t, pod, "loam").Args
		same(t, "subcommand", args[0], what)
		if out, err := exec.Command(binary, append(args, "--help")...).CombinedOutput(); err != nil {
			t.Errorf("loam %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
}

// configurationIsKnown: the schema takes the keys that loam takes, and no others.
func configurationIsKnown(t *testing.T, binary string) {
	knows := regexp.MustCompile(`key "surprise" is unknown: loam knows (.*)`)
	for what, config := range map[string]string{
		"loop": "pools: [{name: a, loop: {surprise: 1}}]",
		"lvm":  "pools: [{name: a, lvm: {surprise: 1}}]",
		"":     "surprise: 1",
	} {
		file := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(binary, "pools", "--config", file).CombinedOutput()
		found := knows.FindSubmatch(out)
		if err == nil || found == nil {
			t.Fatalf("loam did not say which keys it knows of %q: %v: %s", what, err, out)
		}
		want := strings.Split(string(found[1]), ", ")
		want = slices.DeleteFunc(want, func(key string) bool { return what == "" && key == "node" }) // each node has its own
		got := schemaOf(t, "definitions", "config", "properties")
		if what != "" {
			got = schemaOf(t, "definitions", "config", "properties", "pools", "items", "properties", what, "properties")
		}
		slices.Sort(want)
		same(t, "keys of "+what, strings.Join(keys(got), " "), strings.Join(want, " "))
	}
}
