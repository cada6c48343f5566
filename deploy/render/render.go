package main

import (
	"fmt"
	"path"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader"
	"helm.sh/helm/v4/pkg/engine"
	release "helm.sh/helm/v4/pkg/release/v1/util"
)

// render returns the objects of the chart, as YAML, in the order in which Helm makes them in a cluster that has the
// given APIs beside its own. Values are those that differ from values.yaml, and are checked by the schema.
func render(values map[string]any, apis ...string) ([]string, error) {
	files, err := renderFiles(values, apis...)
	if err != nil {
		return nil, err
	}
	for name := range files {
		if path.Base(name) == notesFile {
			delete(files, name)
		}
	}
	hooks, sorted, err := release.SortManifests(files, nil, release.InstallOrder)
	if err != nil {
		return nil, err
	}
	if len(hooks) > 0 {
		return nil, fmt.Errorf("the chart has a hook, %s, which is nothing without Helm", hooks[0].Name)
	}
	var manifests []string
	for _, m := range sorted {
		manifests = append(manifests, strings.TrimSpace(m.Content))
	}
	return manifests, nil
}

// notesFile is what Helm prints in the end.
const notesFile = "NOTES.txt"

// renderFiles returns what each template gives.
func renderFiles(values map[string]any, apis ...string) (map[string]string, error) {
	chart, err := loader.LoadDir(chartDirectory)
	if err != nil {
		return nil, err
	}
	capabilities := common.DefaultCapabilities.Copy()
	capabilities.APIVersions = append(append(common.VersionSet{}, capabilities.APIVersions...), apis...)
	options := common.ReleaseOptions{Name: "loam", Namespace: "loam-system", Revision: 1, IsInstall: true}
	all, err := util.ToRenderValues(chart, values, options, capabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(chart, all)
}
