package netns_test

import (
	"os/exec"
	"strings"
	"testing"

	"kemi.dev/kemi/internal/netns"
)

func TestIntegrationAHostAnswersSNMP(t *testing.T) {
	h := netns.New(t, 250)
	h.Pairs(t, 2)
	h.Snmpd(t)
	walk, err := exec.LookPath("snmpbulkwalk")
	if err != nil {
		netns.Missing(t, "snmpbulkwalk (Debian package snmp)")
	}
	out, err := exec.Command(walk, "-v2c", "-c", "public", "-On", h.Address, "1.3.6.1.2.1.31.1.1.1.1").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "eth4") {
		t.Errorf("%v\n%s", err, out)
	}
}
