{{/* What the service and its migration have in common. */}}

{{- define "identity.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* In place, not in a ConfigMap: the migration runs before the release's objects exist, and whatever changes here rolls
the pods. A number stays one: Helm reads 10000000 as 1e+07. */}}
{{- define "identity.env" -}}
- name: IDENTITY_PORT
  value: "8000"
- name: IDENTITY_DRAIN
  value: {{ printf "%ds" (int .Values.drainSeconds) | quote }}
{{- range $name, $value := .Values.settings }}
{{- if hasKey $.Values.secretSettings $name }}
{{- fail (printf "%s is in settings and in secretSettings" $name) }}
{{- end }}
- name: IDENTITY_{{ upper $name }}
  value: {{ if kindIs "float64" $value }}{{ int64 $value | quote }}{{ else }}{{ $value | quote }}{{ end }}
{{- end }}
{{- range $name, $from := .Values.secretSettings }}
- name: IDENTITY_{{ upper $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $from.name | quote }}
      key: {{ $from.key | quote }}
{{- end }}
{{- end }}

{{- define "identity.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "identity.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "identity.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "identity.volumes" -}}
- name: tmp
  emptyDir: {}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "identity.placement" -}}
{{- with .Values.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
