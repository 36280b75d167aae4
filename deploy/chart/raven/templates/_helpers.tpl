{{- define "raven.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "raven.secret" -}}
{{- if and .Values.vpn.psk .Values.vpn.existingSecret }}{{ fail "vpn.psk and vpn.existingSecret are both set: choose one" }}{{ end }}
{{- if not (or .Values.vpn.psk .Values.vpn.existingSecret (eq .Values.vpn.driver "wireguard")) }}
{{- fail "vpn.psk is required, as there is no default: --set vpn.psk=\"$(openssl rand -base64 48)\", or name a Secret with vpn.existingSecret" }}
{{- end }}
{{- if .Values.vpn.existingSecret }}{{ .Values.vpn.existingSecret }}{{ else if .Values.vpn.psk }}raven-agent-secret{{ end }}
{{- end }}

{{/* The least with which agents and charon work (measured by make test-image): devices, routes and firewall entries need NET_ADMIN. */}}
{{- define "raven.nodeSecurityContext" -}}
runAsUser: 0
runAsGroup: 0
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL], add: [NET_ADMIN] }
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "raven.agentMounts" -}}
- { name: run, mountPath: /run/raven }
# wireguard-go, in the other pod, and wg meet here.
- { name: run, mountPath: /run/wireguard, subPath: wireguard }
- { name: tun, mountPath: /dev/net/tun }
- { name: state, mountPath: /var/lib/raven }
- { name: sysctls, mountPath: /host/proc/sys/net }
{{- end }}

{{- define "raven.nodeVolumes" -}}
- { name: run, hostPath: { path: /run/raven, type: DirectoryOrCreate } }
- { name: state, hostPath: { path: /var/lib/raven, type: DirectoryOrCreate } }
# For ESP or WireGuard in user space, where the kernel has none.
- { name: tun, hostPath: { path: /dev/net/tun, type: CharDevice } }
# Devices come and go: their rp_filter and forwarding are set when they come. /proc/sys itself is read-only in a container without `privileged`.
- { name: sysctls, hostPath: { path: /proc/sys/net, type: Directory } }
{{- end }}
