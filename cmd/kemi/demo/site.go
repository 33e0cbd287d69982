package demo

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"kemi.dev/kemi/internal/simulate"
)

// Who is called: the primary first, the secondary when the primary does not answer.
const (
	primary   = "jo"
	secondary = "sun"
)

// The files of the demo's configuration, as a user would write them.
const (
	kemiYAML = `# The demo's configuration.
listen: %s
cmdb:
  - file: {path: "targets/*.json"}
credentials:
  demo: {snmp: {version: 2c, community: public, timeout: 1s, retries: 1}}
rules: [rules.yaml]
series:
  - embedded: {retention: 1d}
receivers:
  inbox: {inbox: {}}
  phone: {webhook: {url: "http://%s/"}}
people:
  jo:   {name: Jo Kim, ways: [phone]}
  sun:  {name: Sun Lee, ways: [phone]}
  boss: {ways: [phone]}
schedules:
  network: {timezone: UTC, layers: [{people: [jo]}], secondary: [{people: [sun]}]}
teams:
  network: # Minutes where nobody watches: see docs/oncall.md.
    receiver: inbox
    schedule: network
    members: [jo, sun]
    manager: boss
    escalation: [{to: [primary]}, {after: 8s, to: [secondary]}, {after: 30s, to: [manager]}]
  platform: {receiver: inbox}
  shop:     {receiver: inbox}
  default:  {receiver: inbox}
log: {level: warn}
`
	rulesYAML = `groups:
  - name: demo
    rules:
      - alert: TargetDown
        expr: up == 0
        labels: {severity: critical}
        annotations:
          summary: "{{ $labels.target }} does not answer"
      - alert: InterfaceDown
        expr: ifOperStatus == 2 and ifAdminStatus == 1
        for: 20s
        labels: {severity: warning}
        annotations:
          summary: "{{ $labels.ifName }} of {{ $labels.target }} is down"
      - alert: InterfaceSaturated
        expr: rate(ifHCInOctets[2m]) * 8 > 0.95 * ifHighSpeed * 1e6
        for: 1m
        labels: {severity: warning}
        annotations:
          summary: "{{ $labels.ifName }} of {{ $labels.target }} is {{ $value | humanize }}bit/s full"
`
)

// teams own the classes of the simulated site.
var teams = map[simulate.Class]string{
	simulate.Core: "network", simulate.Switch: "network", simulate.Server: "platform", simulate.VM: "platform", simulate.Service: "shop",
}

// write lays the configuration out in dir and returns the path of kemi.yaml.
func write(dir, listen, phones string, devices []simulate.Device) (string, error) {
	check := func(profile string) []any {
		return []any{map[string]any{"kind": "snmp", "every": "10s", "profile": profile, "credential": "demo"}}
	}
	site := map[string]any{
		"classes": map[string]any{
			"core":    map[string]any{"checks": check("interfaces")},
			"switch":  map[string]any{"checks": check("interfaces")},
			"server":  map[string]any{"checks": check("host-resources")},
			"vm":      map[string]any{"checks": check("host-resources")},
			"service": map[string]any{"checks": []any{map[string]any{"kind": "http", "every": "10s", "path": "/health", "expect": map[string]any{"status": 200}}}},
		},
	}
	targets := make([]any, 0, len(devices))
	for _, d := range devices {
		t := map[string]any{
			"id": d.ID, "class": string(d.Class), "address": d.Addr.String(), "team": teams[d.Class],
			"labels": map[string]string{"site": "demo"},
		}
		if !d.Class.SNMP() {
			t["address"] = "http://" + d.Addr.String()
		}
		if len(d.Needs) > 0 {
			t["relations"] = map[string]any{d.Relation: d.Needs}
		}
		targets = append(targets, t)
	}
	site["targets"] = targets
	data, err := json.MarshalIndent(site, "", " ")
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(filepath.Join(dir, "targets"), 0o750); err != nil {
		return "", err
	}
	config := filepath.Join(dir, "kemi.yaml")
	for path, content := range map[string]string{
		filepath.Join(dir, "targets", "site.json"): string(data),
		filepath.Join(dir, "rules.yaml"):           rulesYAML,
		config:                                     fmt.Sprintf(kemiYAML, listen, phones),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return "", err
		}
	}
	return config, nil
}
