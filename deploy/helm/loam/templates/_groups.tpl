{{- /* Which nodes have which configuration: a list of {name, config, nodeSelector, affinity}, as YAML. A node is in the
first group whose labels it all has, so each group is kept off the nodes of those before it, and nodes that are in none
come last. */ -}}
{{- define "loam.groups" -}}
{{- $all := list -}}
{{- $before := list -}}
{{- range .Values.nodeGroups -}}
{{- $all = append $all (dict "name" .name "config" .config "nodeSelector" (merge (deepCopy .nodeSelector) $.Values.node.nodeSelector) "affinity" (include "loam.affinityWithout" (dict "affinity" $.Values.node.affinity "without" $before) | fromYaml)) -}}
{{- $before = append $before .nodeSelector -}}
{{- end -}}
{{- if .Values.node.enabled -}}
{{- $all = append $all (dict "name" "default" "config" .Values.config "nodeSelector" .Values.node.nodeSelector "affinity" (include "loam.affinityWithout" (dict "affinity" .Values.node.affinity "without" $before) | fromYaml)) -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{- /* An affinity that matches no node with all labels of one of the given selectors: of each selector, one label has to
be another or missing. Terms are alternatives, so there is one for each way to choose a label of each selector. */ -}}
{{- define "loam.affinityWithout" -}}
{{- $affinity := deepCopy .affinity -}}
{{- if .without -}}
{{- $node := $affinity.nodeAffinity | default dict -}}
{{- $required := $node.requiredDuringSchedulingIgnoredDuringExecution | default dict -}}
{{- $terms := $required.nodeSelectorTerms | default (list dict) -}}
{{- range $selector := .without -}}
{{- $next := list -}}
{{- range $term := $terms -}}
{{- range $key, $value := $selector -}}
{{- $other := append ($term.matchExpressions | default list) (dict "key" $key "operator" "NotIn" "values" (list $value)) -}}
{{- $next = append $next (set (deepCopy $term) "matchExpressions" $other) -}}
{{- end -}}
{{- end -}}
{{- $terms = $next -}}
{{- end -}}
{{- $node = set $node "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms) -}}
{{- $affinity = set $affinity "nodeAffinity" $node -}}
{{- end -}}
{{- toYaml $affinity -}}
{{- end -}}

{{- /* What the schema cannot say. */ -}}
{{- define "loam.check" -}}
{{- if ne (empty .Values.controller.certificateSecret) (empty .Values.controller.certificateConfigMap) -}}
{{- fail "controller.certificateSecret and controller.certificateConfigMap: one is given and the other is not; nodes get ca.crt from the ConfigMap, so that none may read the Secret" -}}
{{- end -}}
{{- $names := list -}}
{{- range .Values.nodeGroups -}}
{{- if has .name $names }}{{ fail (printf "nodeGroups: there are two with the name %q" .name) }}{{ end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- $configs := .Values.nodeGroups -}}
{{- if .Values.node.enabled }}{{ $configs = append $configs (dict "config" .Values.config) }}{{ end -}}
{{- range $group := $configs -}}
{{- range $group.config.pools -}}
{{- if .loop -}}
{{- $pool := . -}}
{{- $inside := false -}}
{{- range $.Values.node.directories -}}
{{- if hasPrefix (printf "%s/" .) (printf "%s/" $pool.loop.directory) }}{{ $inside = true }}{{ end -}}
{{- end -}}
{{- if not $inside }}{{ fail (printf "pool %q: its directory %s is in none of node.directories (%s), so loam would not see it" .name $pool.loop.directory (join ", " $.Values.node.directories)) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
