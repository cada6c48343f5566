package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// schemaOf returns a part of the schema.
func schemaOf(t *testing.T, path ...string) map[string]any {
	t.Helper()
	file, err := os.ReadFile(filepath.Join(chartDirectory, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var part map[string]any
	if err := json.Unmarshal(file, &part); err != nil {
		t.Fatal(err)
	}
	for _, key := range path {
		next, ok := part[key].(map[string]any)
		if !ok {
			t.Fatalf("the schema has nothing at %v", path)
		}
		part = next
	}
	return part
}

func keys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// TestEveryValueIsDocumented: what the schema takes is in values.yaml, where its meaning is said.
func TestEveryValueIsDocumented(t *testing.T) {
	file, err := os.ReadFile(filepath.Join(chartDirectory, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.UnmarshalStrict(file, &values); err != nil {
		t.Fatal(err)
	}
	var compare func(where string, schema, values map[string]any)
	compare = func(where string, schema, values map[string]any) {
		properties, _ := schema["properties"].(map[string]any)
		if properties == nil {
			return
		}
		known := slices.DeleteFunc(keys(properties), func(key string) bool { return where == "" && key == "global" }) // Helm's own
		same(t, "values of "+where, strings.Join(keys(values), " "), strings.Join(known, " "))
		for key, property := range properties {
			property, isSchema := property.(map[string]any)
			section, isSection := values[key].(map[string]any)
			if isSchema && isSection {
				compare(where+"."+key, property, section)
			}
		}
	}
	compare("", schemaOf(t), values)
	for list, definition := range map[string][]string{
		"storageClasses":             {"properties", "storageClasses", "items", "properties"},
		"volumeSnapshotClasses":      {"definitions", "snapshotClass", "properties"},
		"volumeGroupSnapshotClasses": {"definitions", "snapshotClass", "properties"},
	} {
		first := values[list].([]any)[0].(map[string]any)
		same(t, "keys of "+list, strings.Join(keys(first), " "), strings.Join(keys(schemaOf(t, definition...)), " "))
	}
}

// TestWrongValuesAreRefused, and the message names the one that is wrong.
func TestWrongValuesAreRefused(t *testing.T) {
	for values, want := range map[string]string{
		"attatch: {enabled: true}":                                                         "attatch",
		"attach: {enabled: yes-please}":                                                    "attach/enabled",
		"attach: {required: true}":                                                         "required",
		"kubeletDir: var/lib/kubelet":                                                      "kubeletDir",
		"kubeletDir: /var/lib/kubelet/":                                                    "kubeletDir",
		"controller: {replicas: 0}":                                                        "controller/replicas",
		"controller: {replicas: two}":                                                      "controller/replicas",
		"node: {maxUnavailable: most}":                                                     "node/maxUnavailable",
		"node: {maxUnavailable: 0}":                                                        "node/maxUnavailable",
		"node: {directories: []}":                                                          "node/directories",
		"image: {pullPolicy: Sometimes}":                                                   "image/pullPolicy",
		"controller: {image: {digest: sha256:abc}}":                                        "controller/image/digest",
		"image: {digest: sha256:abc}":                                                      "image/digest",
		"sidecars: {qps: 0}":                                                               "sidecars/qps",
		"sidecars: {leaseDuration: 5s}":                                                    "sidecars/leaseDuration",
		"sidecars: {provisioner: {threads: 5}}":                                            "threads",
		"sidecars: {provisioner: {workers: 0}}":                                            "sidecars/provisioner/workers",
		"sidecars: {resizer: {enabled: false}}":                                            "enabled",
		"storageClasses: [{name: a, reclaimPolicy: Recycle}]":                              "reclaimPolicy",
		"storageClasses: [{name: a, volumeBindingMode: Late}]":                             "volumeBindingMode",
		"storageClasses: [{name: a, parameters: {size: 1}}]":                               "parameters/size",
		"storageClasses: [{reclaimPolicy: Delete}]":                                        "name",
		"storageClasses: [{name: A}]":                                                      "name",
		"volumeSnapshotClasses: [{name: a, deletionPolicy: Old}]":                          "deletionPolicy",
		"config: {node: me, pools: [{name: a, lvm: {volumeGroup: vg0}}]}":                  "node",
		"config: {pools: []}":                                                              "config/pools",
		"config: {pools: [{name: a}]}":                                                     "config/pools/0",
		"config: {pools: [{name: a, loop: {directory: relative}}]}":                        "directory",
		"config: {pools: [{name: a, loop: {directory: /var/lib/loam/a, size: 50}}]}":       "size",
		"config: {pools: [{name: a, loop: {directory: /var/lib/loam/a, sise: 50Gi}}]}":     "sise",
		"config: {pools: [{name: a, lvm: {volumeGroup: vg0, reserve: 100%}}]}":             "reserve",
		"config: {pools: [{name: a, lvm: {volumeGroup: vg0, type: raid0}}]}":               "type",
		"config: {pools: [{name: a, lvm: {volumeGroup: vg0}, loop: {directory: /x/y}}]}":   "config/pools/0",
		"config: {pools: [{name: A, lvm: {volumeGroup: vg0}}]}":                            "name",
		"nodeGroups: [{name: a, config: {pools: [{name: a, lvm: {volumeGroup: vg0}}]}}]":   "nodeSelector",
		"nodeGroups: [{name: a, nodeSelector: {}, config: {pools: [{name: a, lvm: {}}]}}]": "nodeSelector",
		"nodeGroups: [{name: default, nodeSelector: {a: b}, config: {pools: [{name: a, lvm: {volumeGroup: vg0}}]}}]": "nodeGroups/0/name",
		// What a schema cannot say.
		"controller: {certificateSecret: mine}":                                                                                              "certificateConfigMap",
		"controller: {certificateConfigMap: theirs}":                                                                                         "certificateSecret",
		"config: {pools: [{name: far, loop: {directory: /srv/disk}}]}":                                                                       `pool "far"`,
		"config: {pools: [{name: far, loop: {directory: /var/lib/loamy}}]}":                                                                  `pool "far"`,
		"nodeGroups: [{name: a, nodeSelector: {a: b}, config: {pools: [{name: far, loop: {directory: /srv}}]}}]":                             `pool "far"`,
		"nodeGroups: [" + strings.Repeat("{name: a, nodeSelector: {a: b}, config: {pools: [{name: a, lvm: {volumeGroup: vg0}}]}},", 2) + "]": `two with the name "a"`,
	} {
		_, err := render(parse(t, values))
		if err == nil {
			t.Errorf("%s: taken", values)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, which does not name %s", values, err, want)
		}
	}
}
