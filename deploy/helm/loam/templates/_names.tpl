{{- define "loam.labels" -}}
app.kubernetes.io/name: loam
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "loam.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{- define "loam.controllerImage" -}}
{{- $image := .Values.controller.image | default dict -}}
{{ $image.repository | default (printf "%s-controller" .Values.image.repository) }}:{{ $image.tag | default .Values.image.tag | default .Chart.AppVersion }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{- define "loam.unprivileged" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "loam.podEnvironment" -}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- end -}}

{{- /* A sidecar: (dict "root" $ "name" "csi-resizer" "of" .Values.sidecars.resizer "port" 9811 "args" (list ...)).
They lead by election, ask the API as fast as it lets them, and say on their port whether the lease is renewed. */ -}}
{{- define "loam.sidecar" -}}
{{- with .root.Values.sidecars -}}
{{- $lease := trimSuffix "s" .leaseDuration | int -}}
- name: {{ $.name }}
  image: {{ $.of.image }}
  args:
    - --csi-address=/csi/csi.sock
    - --timeout=60s
    - --retry-interval-start=500ms
    - --retry-interval-max=30s
    - --leader-election
    - --leader-election-namespace=$(NAMESPACE)
    - --leader-election-lease-duration={{ $lease }}s
    - --leader-election-renew-deadline={{ div (mul $lease 2) 3 }}s
    - --leader-election-retry-period=2s
    - --kube-api-qps={{ .qps }}
    - --kube-api-burst={{ .burst }}
    - --http-endpoint=:{{ $.port }}
    - --v={{ .verbosity }}
    {{- range $.args }}
    - {{ . }}
    {{- end }}
  env:
    - name: NAMESPACE
      valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
    - name: POD_NAME
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
  ports: [{name: {{ trimPrefix "csi-" $.name }}, containerPort: {{ $.port }}}]
  livenessProbe: {httpGet: {path: /healthz/leader-election, port: {{ $.port }}}, periodSeconds: 20, timeoutSeconds: 5}
  securityContext: {{- include "loam.unprivileged" $.root | nindent 4 }}
  resources: {{- toYaml .resources | nindent 4 }}
  volumeMounts: [{name: socket, mountPath: /csi}]
{{- end -}}
{{- end -}}
