package api_test

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

// Who says something while the bus is away is not kept waiting for it.
func TestWhatIsSaidWhileTheBusIsAwayIsRefusedAtOnce(t *testing.T) {
	l := &leaving{Driver: mem.New()}
	h, _ := dutyOver(t, l)
	l.away.Store(true)
	for path, body := range map[string]string{
		"POST /incidents/abcd1111/acknowledge": `{"by":"jo"}`, "POST /incidents/abcd1111/snooze": `{"by":"jo","for":"1h"}`,
		"POST /silences":  `{"by":"jo","for":"1h","comment":"x","matchers":[{"name":"target","value":"srv"}]}`,
		"POST /overrides": `{"by":"jo","schedule":"network","person":"sun","lasts":"1h"}`,
		"POST /commands":  `{"kind":"accept-shrink","subject":"file"}`,
	} {
		method, path, _ := strings.Cut(path, " ")
		begin := time.Now()
		code, said := ask(h, method, path, body)
		if took := time.Since(begin); code != 503 || !strings.Contains(said, "the bus is away, try again when it is back: ") || took > 3*time.Second {
			t.Errorf("%s: after %s %d %s", path, took, code, said)
		}
	}
}
