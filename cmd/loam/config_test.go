package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/config"
	"github.com/loam-storage/loam/driver/pool/loop"
	"github.com/loam-storage/loam/driver/pool/lvm"
	"github.com/loam-storage/loam/driver/volume"
	"github.com/loam-storage/loam/node"
)

// inLoop is a configuration of one pool with the given keys.
func inLoop(keys string) string {
	return "pools: [{name: fast, loop: {" + keys + "}}]"
}

// inLVM is the same of an lvm pool.
func inLVM(keys string) string {
	return "pools: [{name: fast, lvm: {" + keys + "}}]"
}

func TestConfigurationBecomesOneValue(t *testing.T) {
	one := func(c loop.Config) settings {
		return settings{Node: "n1", Pools: []poolSettings{{Name: "fast", Settings: c}}}
	}
	inGroup := func(c lvm.Config) settings {
		return settings{Node: "n1", Pools: []poolSettings{{Name: "fast", Settings: c}}}
	}
	for text, want := range map[string]settings{
		inLVM("volumeGroup: vg0, create: true, devices: [/dev/sdb, /dev/disk/by-id/nvme-x]"):       inGroup(lvm.Config{VolumeGroup: "vg0", Create: true, Devices: []string{"/dev/sdb", "/dev/disk/by-id/nvme-x"}}),
		inLVM("volumeGroup: vg0, devices: [/dev/sdb]"):                                             inGroup(lvm.Config{VolumeGroup: "vg0", Devices: []string{"/dev/sdb"}}),
		inLVM("volumeGroup: vg0"):                                                                  inGroup(lvm.Config{VolumeGroup: "vg0"}),
		inLVM("volumeGroup: vg0, thinPool: tp0, overprovision: 1.5, reserve: 5%"):                  inGroup(lvm.Config{VolumeGroup: "vg0", ThinPool: "tp0", Space: config.Space{Overprovision: 1.5, ReservePercent: 5}}),
		inLVM("volumeGroup: vg0, thinPool: tp0, extend: {at: 80%, by: 20%}"):                       inGroup(lvm.Config{VolumeGroup: "vg0", ThinPool: "tp0", ExtendAt: 80, ExtendBy: 20}),
		inLVM("volumeGroup: vg0, type: raid10, stripes: 3, mirrors: 2, reserve: 10Gi, wipe: zero"): inGroup(lvm.Config{VolumeGroup: "vg0", Type: lvm.RAID10, Stripes: 3, Mirrors: 2, Wipe: lvm.WipeZero, Space: config.Space{ReserveBytes: 10 * volume.GiB}}),
		"pools: [{name: a, lvm: {volumeGroup: vg0}}, {name: b, lvm: {volumeGroup: vg0, type: raid1}}, {name: c, loop: {directory: /a}}]": {Node: "n1", Pools: []poolSettings{
			{Name: "a", Settings: lvm.Config{VolumeGroup: "vg0"}}, {Name: "b", Settings: lvm.Config{VolumeGroup: "vg0", Type: lvm.RAID1}}, {Name: "c", Settings: loop.Config{Directory: "/a"}}}},
		defaultConfig():         {Node: "n1", Pools: []poolSettings{{Name: "default", Settings: loop.Config{Directory: "/var/lib/loam/default", SizeBytes: 50 * volume.GiB, Create: true}}}},
		inLoop("directory: /a"): one(loop.Config{Directory: "/a"}),
		inLoop("directory: /a, create: true, mount: true"):                           one(loop.Config{Directory: "/a", Create: true, Mount: true}),
		inLoop("directory: /a/../b/"):                                                one(loop.Config{Directory: "/b"}),
		inLoop("directory: /a, size: 1.5Gi, allocation: preallocated"):               one(loop.Config{Directory: "/a", SizeBytes: 3 * volume.GiB / 2}),
		inLoop("directory: /a, allocation: sparse, overprovision: 1.5, reserve: 5%"): one(loop.Config{Directory: "/a", Sparse: true, Space: config.Space{Overprovision: 1.5, ReservePercent: 5}}),
		inLoop("directory: /a, allocation: sparse, overprovision: 2, reserve: 10Gi"): one(loop.Config{Directory: "/a", Sparse: true, Space: config.Space{Overprovision: 2, ReserveBytes: 10 * volume.GiB}}),
		inLoop("directory: /a, reserve: 10%"):                                        one(loop.Config{Directory: "/a", Space: config.Space{ReservePercent: 10}}),
		"pools: [{name: a, loop: {directory: /a}, ephemeral: {maxSize: 1Gi}}, {name: b, ephemeral: {allowed: false}, loop: {directory: /b}}, {name: c, ephemeral: {allowed: true}, loop: {directory: /c}}]": {Node: "n1", Pools: []poolSettings{
			{Name: "a", Settings: loop.Config{Directory: "/a"}, Ephemeral: node.Ephemeral{MaxBytes: volume.GiB}}, {Name: "b", Settings: loop.Config{Directory: "/b"}, Ephemeral: node.Ephemeral{Refused: true}},
			{Name: "c", Settings: loop.Config{Directory: "/c"}}}},
		"---\n# two\nnode: web-7\nmaxVolumes: 3\npools:\n- {name: a, loop: {directory: /a}}\n- {name: b, loop: {directory: /ab}}\n": {Node: "web-7", MaxVolumes: 3, Pools: []poolSettings{
			{Name: "a", Settings: loop.Config{Directory: "/a"}}, {Name: "b", Settings: loop.Config{Directory: "/ab"}}}},
	} {
		got, err := parseConfig([]byte(text), "n1")
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("parseConfig(%s) = %+v, %v\nwant %+v", text, got, err, want)
		}
	}
}

func TestLongNamesOfMachinesAreShortened(t *testing.T) {
	long := strings.Repeat("node.", 20) + "example"
	got, err := parseConfig([]byte("node: "+long+"\n"+inLoop("directory: /a")), "n1")
	if want := volume.NodeName(long); err != nil || got.Node != want || len(want) > volume.MaxNodeBytes {
		t.Errorf("node = %q, %v; want %q", got.Node, err, want)
	}
}

// Every error names the pool and the key.
func TestWhatIsNoConfigurationIsRefusedByName(t *testing.T) {
	for text, says := range map[string]string{
		"":                                     "mapping",
		"[]":                                   "mapping",
		"pools: []":                            "pools: name at least one",
		"pools:":                               "pools: name at least one",
		"{":                                    "YAML",
		"node: x":                              "pools",
		defaultConfig() + "---\n":              "more than one YAML document",
		defaultConfig() + "...\npools: x":      "more than one YAML document",
		strings.Repeat("#", config.MaxBytes+1): "more than",
		"Node: x\n" + inLoop("directory: /a"):  `key "Node" is unknown`,
		"pool: x\n" + inLoop("directory: /a"):  `key "pool" is unknown`,
		"node: x\nnode: y\n" + inLoop("directory: /a"): `"node" already set`,
		"node: no\n" + inLoop("directory: /a"):         "node: false is not a text",
		"node: 010\n" + inLoop("directory: /a"):        "node: 8 is not a text",
		"node: a/b\n" + inLoop("directory: /a"):        `node: "a/b"`,
		"node: ''\n" + inLoop("directory: /a"):         "node: is empty",
		"maxVolumes: -1\n" + inLoop("directory: /a"):   "maxVolumes: -1",
		"maxVolumes: 1.5\n" + inLoop("directory: /a"):  "maxVolumes: 1.5",
		"maxVolumes: '3'\n" + inLoop("directory: /a"):  `maxVolumes: "3"`,
		"pools: [3]":                                                                              "pools[0]: 3 is not a mapping",
		"pools: [{loop: {directory: /a}}]":                                                        "pools[0]: name: is missing",
		"pools: [{name: 'A b', loop: {directory: /a}}]":                                           "pools[0]: name: pool name",
		"pools: [{name: fast}]":                                                                   `pool "fast": loop: is missing`,
		"pools: [{name: fast, loop: }]":                                                           `pool "fast": loop: null is not a mapping`,
		"pools: [{name: fast, ephemeral: no, loop: {directory: /a}}]":                             `pool "fast": ephemeral: false is not a mapping`,
		"pools: [{name: fast, ephemeral: {allow: true}, loop: {directory: /a}}]":                  `pool "fast": ephemeral: key "allow" is unknown`,
		"pools: [{name: fast, ephemeral: {maxSize: 10}, loop: {directory: /a}}]":                  `pool "fast": ephemeral: maxSize`,
		"pools: [{name: fast, ephemeral: {allowed: 1}, loop: {directory: /a}}]":                   `pool "fast": ephemeral: allowed: 1 is neither true nor false`,
		"pools: [{name: fast, ephemeral: {allowed: false, maxSize: 1Gi}, loop: {directory: /a}}]": `pool "fast": ephemeral: maxSize: stands beside`,
		"pools: [{name: fast, zfs: {}}]":                                                          `pool "fast": key "zfs" is unknown`,
		"pools: [{name: fast, lvm: {volumeGroup: vg0}, loop: {directory: /a}}]":                   `pool "fast": lvm: stands beside loop`,
		inLVM(""):                               `pool "fast": lvm: volumeGroup: is missing`,
		inLVM("volumegroup: vg0"):               `pool "fast": lvm: key "volumegroup" is unknown`,
		inLVM("volumeGroup: vg0, create: true"): `pool "fast": lvm: create needs devices`,
		inLVM("volumeGroup: vg0, create: 'yes', devices: [/dev/sdb]"):                                               `pool "fast": lvm: create: "yes"`,
		inLVM("volumeGroup: vg0, create: true, devices: /dev/sdb"):                                                  `pool "fast": lvm: devices: "/dev/sdb" is not a list`,
		inLVM("volumeGroup: vg0, create: true, devices: []"):                                                        `pool "fast": lvm: devices: []`,
		inLVM("volumeGroup: vg0, create: true, devices: [sdb]"):                                                     `pool "fast": lvm: devices: "sdb"`,
		inLVM("volumeGroup: vg0, create: true, devices: ['/dev/a,/dev/b']"):                                         `pool "fast": lvm: devices: "/dev/a,/dev/b"`,
		inLVM("volumeGroup: vg0, create: true, devices: [/dev/a, /dev/a]"):                                          `pool "fast": lvm: devices: "/dev/a"`,
		"pools: [{name: a, lvm: {volumeGroup: vg0, thinPool: t}}, {name: b, lvm: {volumeGroup: vg0, thinPool: t}}]": `pool "b": lvm: thinPool: "t"`,
		inLVM("volumeGroup: vg0, colour: red"):                                                                      `pool "fast": lvm: key "colour" is unknown`,
		inLVM("volumeGroup: a/b"):                                                                                   `pool "fast": lvm: volumeGroup "a/b"`,
		inLVM("volumeGroup: -a"):                                                                                    `pool "fast": lvm: volumeGroup "-a"`,
		inLVM("volumeGroup: vg0, thinPool: a b"):                                                                    `pool "fast": lvm: thinPool "a b"`,
		inLVM("volumeGroup: vg0, type: mirror"):                                                                     `pool "fast": lvm: type "mirror"`,
		inLVM("volumeGroup: vg0, thinPool: tp, type: raid1"):                                                        `pool "fast": lvm: type, stripes and mirrors`,
		inLVM("volumeGroup: vg0, thinPool: tp, wipe: none"):                                                         `pool "fast": lvm: wipe is for thick`,
		inLVM("volumeGroup: vg0, extend: {at: 80%, by: 20%}"):                                                       `pool "fast": lvm: extend needs a thinPool`,
		inLVM("volumeGroup: vg0, thinPool: tp, extend: {at: 80%}"):                                                  `pool "fast": lvm: extend: by: "" is not a percentage`,
		inLVM("volumeGroup: vg0, thinPool: tp, extend: {at: 80, by: 20%}"):                                          `pool "fast": lvm: extend: at: 80 is not a text`,
		inLVM("volumeGroup: vg0, thinPool: tp, extend: {at: 95%, by: 20%}"):                                         `pool "fast": lvm: extend is from 50%`,
		inLVM("volumeGroup: vg0, thinPool: tp, extend: {at: 80%, by: 20%, to: 1Ti}"):                                `pool "fast": lvm: extend: key "to" is unknown`,
		inLVM("volumeGroup: vg0, stripes: 2"):                                                                       `pool "fast": lvm: stripes is for`,
		inLVM("volumeGroup: vg0, stripes: 0, type: striped"):                                                        `pool "fast": lvm: stripes: 0`,
		inLVM("volumeGroup: vg0, stripes: 1, type: striped"):                                                        `pool "fast": lvm: stripes 1 is less than the 2`,
		inLVM("volumeGroup: vg0, mirrors: 1, type: raid5"):                                                          `pool "fast": lvm: mirrors is for`,
		inLVM("volumeGroup: vg0, type: raid10, stripes: 60"):                                                        `pool "fast": lvm: stripes 60`,
		inLVM("volumeGroup: vg0, overprovision: 2"):                                                                 `pool "fast": lvm: overprovision needs a thinPool`,
		inLVM("volumeGroup: vg0, thinPool: tp, overprovision: 101"):                                                 `pool "fast": lvm: overprovision 101`,
		inLVM("volumeGroup: vg0, wipe: yes please"):                                                                 `pool "fast": lvm: wipe "yes please"`,
		inLVM("volumeGroup: vg0, reserve: 5"):                                                                       `pool "fast": lvm: reserve: 5 is not a text`,
		inLoop("directory: /a, create: 'yes'"):                                                                      `pool "fast": loop: create: "yes" is neither true nor false`,
		inLoop("directory: /a, mount: 1"):                                                                           `pool "fast": loop: mount: 1 is neither true nor false`,
		inLoop(""):                                                                                                  `pool "fast": loop: directory: is missing`,
		inLoop("directroy: /a"):                                                                                     `pool "fast": loop: key "directroy" is unknown`,
		inLoop("Directory: /a"):                                                                                     `pool "fast": loop: key "Directory" is unknown`,
		inLoop("directory: /a, directory: /b"):                                                                      `"directory" already set`,
		inLoop("directory: a"):                                                                                      `pool "fast": loop: directory: "a"`,
		inLoop("directory: /"):                                                                                      `pool "fast": loop: directory: "/"`,
		inLoop("directory: /a/.."):                                                                                  `pool "fast": loop: directory: "/a/.."`,
		inLoop(`directory: "/a\nb"`):                                                                                `pool "fast": loop: directory:`,
		inLoop("directory: /a, size: 50"):                                                                           `pool "fast": loop: size: 50 is not a text`,
		inLoop("directory: /a, size: '1073741824'"):                                                                 `pool "fast": loop: size: "1073741824": write a size with its unit`,
		inLoop("directory: /a, size: 0Gi"):                                                                          `pool "fast": loop: size: "0Gi"`,
		inLoop("directory: /a, size: 10%"):                                                                          `pool "fast": loop: size: size "10%"`,
		inLoop("directory: /a, size: -1Gi"):                                                                         `pool "fast": loop: size: size "-1Gi"`,
		inLoop("directory: /a, size: 1Mi"):                                                                          `pool "fast": loop: size 1MiB is too small`,
		inLoop("directory: /a, allocation: thin"):                                                                   `pool "fast": loop: allocation: "thin"`,
		inLoop("directory: /a, overprovision: 2"):                                                                   `pool "fast": loop: overprovision needs`,
		inLoop("directory: /a, allocation: sparse, overprovision: 0"):                                               `pool "fast": loop: overprovision: 0`,
		inLoop("directory: /a, allocation: sparse, overprovision: 5%"):                                              `pool "fast": loop: overprovision: "5%"`,
		inLoop("directory: /a, allocation: sparse, overprovision: 1e9"):                                             `pool "fast": loop: overprovision`,
		inLoop("directory: /a, reserve: 10"):                                                                        `pool "fast": loop: reserve: 10 is not a text`,
		inLoop("directory: /a, reserve: '10'"):                                                                      `pool "fast": loop: reserve: "10" is neither`,
		inLoop("directory: /a, reserve: 100%"):                                                                      `pool "fast": loop: reserve: "100%" is neither`,
		inLoop("directory: /a, reserve: 5.5%"):                                                                      `pool "fast": loop: reserve: "5.5%" is neither`,
		inLoop("directory: /a, reserve: -5%"):                                                                       `pool "fast": loop: reserve: "-5%" is neither`,
		"pools: [{name: a, loop: {directory: /a}}, {name: a, loop: {directory: /b}}]":                               `pool "a": name: there are two`,
		"pools: [{name: a, loop: {directory: /a}}, {name: b, loop: {directory: /a/b}}]":                             `pool "b": loop: directory: "/a/b" and "/a" of pool "a"`,
		"pools: [{name: a, loop: {directory: /a/b}}, {name: b, loop: {directory: /a/}}]":                            `pool "b": loop: directory: "/a" and "/a/b" of pool "a"`,
	} {
		got, err := parseConfig([]byte(text), "n1")
		if !volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), says) || len(err.Error()) > 1024 {
			t.Errorf("parseConfig(%.80s) = %+v, %v\nwant %q", text, got, err, says)
		}
	}
}

func TestAllThatIsWrongIsSaidAtOnce(t *testing.T) {
	_, err := parseConfig([]byte("node: a b\nmaxVolumes: x\npools: [{name: a, loop: {directory: b, reserve: 5}}, {name: c, x: y}]"), "n1")
	for _, says := range []string{"node:", "maxVolumes:", "directory:", "reserve:", `pool "c"`} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error does not say %q: %v", says, err)
		}
	}
}

func TestFileIsNamedInErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loam.yaml")
	if _, err := readConfig(path); !volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), path) {
		t.Errorf("readConfig of no file = %v", err)
	}
	if err := os.WriteFile(path, []byte("x: y"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readConfig(path); !volume.Is(err, volume.Invalid) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), `"x"`) {
		t.Errorf("readConfig = %v", err)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(defaultConfig()))
	f.Add([]byte("node: web-7\nmaxVolumes: 3\n" + inLoop("directory: /a, allocation: sparse, overprovision: 1.5, reserve: 5%")))
	f.Add([]byte(inLoop("directory: /a, reserve: 10Gi, size: 1Ti")))
	f.Add([]byte(inLVM("volumeGroup: vg0, thinPool: tp0, overprovision: 1.5, reserve: 5%")))
	f.Add([]byte(inLVM("volumeGroup: vg0, type: raid6, stripes: 4, wipe: discard")))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("pools: &p [{name: a, loop: {<<: {directory: /a}}}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseConfig(text, "n1")
		if err != nil {
			if !volume.Is(err, volume.Invalid) {
				t.Fatalf("kind %s: %v", volume.KindOf(err), err)
			}
			return
		}
		if len(c.Pools) == 0 || c.MaxVolumes < 0 || c.Node != volume.NodeName(c.Node) {
			t.Fatalf("%+v", c)
		}
		for i, p := range c.Pools {
			if err := volume.CheckPoolName(p.Name); err != nil {
				t.Fatal(err)
			}
			var space config.Space
			switch c := p.Settings.(type) {
			case loop.Config:
				space, err = c.Space, c.Check()
			case lvm.Config:
				space, err = c.Space, c.Check()
			}
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), "%") && space.ReservePercent != 0 {
				t.Fatalf("percent out of nothing: %+v", c)
			}
			var s config.Section
			apart(&s, p, c.Pools[:i])
			if err := s.Err(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
