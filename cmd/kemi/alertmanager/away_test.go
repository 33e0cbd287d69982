package alertmanager_test

import (
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/mem"
)

// Prometheus says an alert again that was answered with 503; whoever presses a button is told what is wrong.
func TestWhatComesWhileTheBusIsAwayIsRefusedSoon(t *testing.T) {
	l := &mem.Leaving{Driver: mem.New()}
	h := build(t, plan{yaml: quiet, broker: l, deaf: true})
	<-h.model.Ready()
	l.Leave()
	t.Cleanup(l.Return)
	for path, body := range map[string]string{
		"/alerts":   list(one(ls{"alertname": "A"})),
		"/silences": `{"matchers":[{"name":"alertname","value":"A","isRegex":false}],"startsAt":` + when(0) + `,"endsAt":` + when(time.Hour) + `,"createdBy":"jo","comment":"x"}`,
	} {
		begin := time.Now() // A broker that is away and waited for takes nothing, however long; what is said tells which wait it was.
		code, said := h.do("POST", path, body)
		if took := time.Since(begin); code != 503 || !strings.Contains(said, "the bus is away, try again when it is back") || took > 20*time.Second {
			t.Errorf("%s: after %s %d %s", path, took, code, said)
		}
	}
}
