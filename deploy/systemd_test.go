package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const unit = "systemd/kemi.service"

// directives reads the unit: the values of each key, by section.
func directives(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	section := ""
	for _, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '[' {
			section = strings.Trim(line, "[]")
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			t.Fatalf("%q is no directive", line)
		}
		all[section+"."+key] = append(all[section+"."+key], value)
	}
	return all
}

func TestTheUnitIsHardened(t *testing.T) {
	got := directives(t)
	for key, want := range map[string]string{
		"User": "kemi", "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes", "PrivateDevices": "yes",
		"StateDirectory": "kemi", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "AmbientCapabilities": "",
		"MemoryDenyWriteExecute": "yes", "RestrictNamespaces": "yes", "RestrictSUIDSGID": "yes", "LockPersonality": "yes",
		"ProtectKernelTunables": "yes", "ProtectControlGroups": "yes", "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
		"Restart": "on-failure", "LimitNOFILE": "65536", "UMask": "0027",
		"ExecStart": "/usr/bin/kemi run -c /etc/kemi/kemi.yaml",
	} {
		if v := got["Service."+key]; !slices.Equal(v, []string{want}) {
			t.Errorf("%s is %q, want %q", key, v, want)
		}
	}
	if v := got["Service.SystemCallFilter"]; !slices.Contains(v, "@system-service") || !slices.Contains(v, "~@privileged @resources") {
		t.Errorf("SystemCallFilter is %q", v)
	}
	if v := got["Install.WantedBy"]; !slices.Equal(v, []string{"multi-user.target"}) {
		t.Errorf("WantedBy is %q", v)
	}
	config, err := os.ReadFile("systemd/kemi.yaml")
	if err != nil || !strings.Contains(string(config), "\ndata: /var/lib/kemi\n") {
		t.Errorf("its configuration writes elsewhere than the unit allows: %v", err)
	}
}

func TestSystemdAcceptsTheUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is missing")
	}
	data, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	// The program need not be installed for its unit to be judged.
	text := strings.ReplaceAll(string(data), "/usr/bin/kemi", "/bin/true")
	path := filepath.Join(t.TempDir(), "kemi.service")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", path).CombinedOutput(); err != nil || strings.Contains(string(out), "kemi.service") {
		t.Errorf("verify: %v\n%s", err, out)
	}
	// Exposure is judged from 0.0, best, to 10.0; the threshold is in tenths.
	if out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=20", path).CombinedOutput(); err != nil {
		if strings.Contains(string(out), "unrecognized option") {
			t.Skip("this systemd-analyze judges no files")
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Errorf("security: %v: %s", err, lines[len(lines)-1])
	}
}
