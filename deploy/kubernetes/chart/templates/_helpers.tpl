{{- define "merganser.name" -}}
{{- printf "%s" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "merganser.selector" -}}
app.kubernetes.io/name: merganser
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "merganser.labels" -}}
{{ include "merganser.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "merganser.tlsSecret" -}}
{{- .Values.security.tlsSecretName | default (printf "%s-tls" (include "merganser.name" .)) -}}
{{- end -}}

{{- define "merganser.tokenSecret" -}}
{{- .Values.security.tokenSecretName | default (printf "%s-tokens" (include "merganser.name" .)) -}}
{{- end -}}

{{- define "merganser.redisSecret" -}}
{{- if .Values.redis.enabled -}}{{ include "merganser.name" . }}-redis{{- else -}}
{{- required "redis.external.secretName: name the secret with the two users' passwords" .Values.redis.external.secretName -}}
{{- end -}}
{{- end -}}

{{- define "merganser.redisAddress" -}}
{{- if .Values.redis.enabled -}}{{ include "merganser.name" . }}-redis:6379{{- else -}}
{{- required "redis.external.address: name the external Redis, HOST:PORT/DB" .Values.redis.external.address -}}
{{- end -}}
{{- end -}}

{{/* redis:// of one role; the user's name comes in as an environment variable, the password as a file. */}}
{{- define "merganser.store" -}}
redis://$(REDIS_USER)@{{ include "merganser.redisAddress" . }}?password_file=/secrets/redis/password
{{- end -}}

{{- define "merganser.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "merganser.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Pod of a worker; `restart` is Always in a Deployment and Never in a Job. */}}
{{- define "merganser.workerPod" -}}
{{- $v := .root.Values -}}
metadata:
  labels:
    {{- include "merganser.selector" .root | nindent 4 }}
    app.kubernetes.io/component: worker
  annotations:
    # A worker that computes is not worth less than the node it sits on.
    cluster-autoscaler.kubernetes.io/safe-to-evict: "false"
    karpenter.sh/do-not-disrupt: "true"
spec:
  restartPolicy: {{ .restart }}
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: {{ $v.workers.terminationGracePeriodSeconds }}
  securityContext:
    {{- include "merganser.podSecurity" .root | nindent 4 }}
  {{- with $v.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $v.workers.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.workers.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.workers.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: worker
      image: {{ $v.image.worker }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      command: [merganser-worker]
      args:
        - --coordinator={{ include "merganser.name" .root }}-coordinator:50052
        - --store={{ include "merganser.store" .root }}
        - --store-wait=5m
        - --device={{ $v.workers.device }}
        - --name=$(POD_NAME)
        - --http=0.0.0.0:9091
        - --spool-dir=/spool
        - --model-root={{ $v.models.mountPath }}
        {{- if eq .restart "Never" }}
        - --exit-when-idle={{ $v.workers.keda.exitWhenIdle }}
        {{- end }}
        {{- if $v.security.enabled }}
        - --tls-ca=/secrets/ca/ca.crt
        - --token-file=/secrets/token/worker
        {{- end }}
        {{- range $v.workers.flags }}
        - {{ . | quote }}
        {{- end }}
      env:
        - name: POD_NAME
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        - name: REDIS_USER
          valueFrom: {secretKeyRef: {name: {{ include "merganser.redisSecret" .root }}, key: worker-user}}
      ports:
        - {name: http, containerPort: 9091}
      # Checkpoints are mapped before the worker has a session: minutes from a cold file system.
      startupProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 5
        failureThreshold: 120
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 20
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
      resources:
        requests:
          {{- toYaml $v.workers.resources.requests | nindent 10 }}
        limits:
          {{- toYaml $v.workers.resources.limits | nindent 10 }}
          {{- if gt (int $v.workers.gpus) 0 }}
          nvidia.com/gpu: {{ $v.workers.gpus }}
          {{- end }}
      securityContext:
        {{- include "merganser.containerSecurity" .root | nindent 8 }}
      volumeMounts:
        - {name: spool, mountPath: /spool}
        - {name: tmp, mountPath: /tmp}
        - {name: redis, mountPath: /secrets/redis, readOnly: true}
        {{- if $v.security.enabled }}
        - {name: ca, mountPath: /secrets/ca, readOnly: true}
        - {name: token, mountPath: /secrets/token, readOnly: true}
        {{- end }}
        {{- if or $v.models.claimName $v.models.volume }}
        - {name: models, mountPath: {{ $v.models.mountPath }}, readOnly: true}
        {{- end }}
  volumes:
    - {name: spool, emptyDir: {}}
    - {name: tmp, emptyDir: {}}
    - name: redis
      secret:
        secretName: {{ include "merganser.redisSecret" .root }}
        items: [{key: worker-password, path: password}]
    {{- if $v.security.enabled }}
    - name: ca
      secret:
        secretName: {{ include "merganser.tlsSecret" .root }}
        items: [{key: ca.crt, path: ca.crt}]
    - name: token
      secret:
        secretName: {{ include "merganser.tokenSecret" .root }}
        items: [{key: worker, path: worker}]
    {{- end }}
    {{- if $v.models.claimName }}
    - name: models
      persistentVolumeClaim: {claimName: {{ $v.models.claimName }}, readOnly: true}
    {{- else if $v.models.volume }}
    - name: models
      {{- toYaml $v.models.volume | nindent 6 }}
    {{- end }}
{{- end -}}
