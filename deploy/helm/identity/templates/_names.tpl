{{- define "identity.fullname" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "identity.selector" -}}
app.kubernetes.io/name: identity
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "identity.labels" -}}
{{ include "identity.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}
