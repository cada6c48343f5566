{{- define "loam.labels" -}}
app.kubernetes.io/name: loam
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "loam.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- /* Flags that all sidecars share: they lead by election and ask the API as fast as it lets them. */ -}}
{{- define "loam.sidecarArgs" -}}
- --csi-address=/csi/csi.sock
- --leader-election
- --leader-election-namespace=$(POD_NAMESPACE)
- --kube-api-qps={{ .Values.sidecars.qps }}
- --kube-api-burst={{ .Values.sidecars.burst }}
- --v={{ .Values.sidecars.verbosity }}
{{- end -}}

{{- define "loam.sidecarEnvironment" -}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- end -}}

{{- define "loam.unprivileged" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
