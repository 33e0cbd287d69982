package alertmanager_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/mem"
)

// leaving is a broker that can go away, and knows when it did.
type leaving struct {
	*mem.Driver
	away atomic.Bool
}

func (l *leaving) Health() error {
	if l.away.Load() {
		return errors.New("no broker answers since noon")
	}
	return nil
}

func (l *leaving) Publish(ctx context.Context, rs []driver.Record, f *driver.Fence) error {
	if l.away.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return l.Driver.Publish(ctx, rs, f)
}

// Prometheus says an alert again that was answered with 503; whoever presses a button is told what is wrong.
func TestWhatComesWhileTheBusIsAwayIsRefusedSoon(t *testing.T) {
	l := &leaving{Driver: mem.New()}
	h := build(t, plan{yaml: quiet, broker: l, deaf: true})
	<-h.model.Ready()
	l.away.Store(true)
	t.Cleanup(func() { l.away.Store(false) })
	for path, body := range map[string]string{
		"/alerts":   list(one(ls{"alertname": "A"})),
		"/silences": `{"matchers":[{"name":"alertname","value":"A","isRegex":false}],"startsAt":` + when(0) + `,"endsAt":` + when(time.Hour) + `,"createdBy":"jo","comment":"x"}`,
	} {
		begin := time.Now()
		code, said := h.do("POST", path, body)
		if took := time.Since(begin); code != 503 || !strings.Contains(said, "the bus is away, try again when it is back") || took > 3*time.Second {
			t.Errorf("%s: after %s %d %s", path, took, code, said)
		}
	}
}
