package snmp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"kemi.dev/kemi/bus/event"
)

// failure is why an exchange brought no answer.
type failure struct {
	status event.Status
	text   string
}

func (f *failure) Error() string { return f.text }

// exchange asks one target, one request at a time.
type exchange struct {
	t         *transport
	call      call
	timer     *time.Timer
	timeout   time.Duration
	retries   int
	community string
	scratch   []byte
	// last is the packet that the newest answer points into; it is given back with the next one.
	last *packet
	// shrink makes a request smaller before it is sent again, because some targets say nothing to what is too large for
	// them or for the way to them. It reports whether it did.
	shrink func(r *request) bool
	// requests and repeats count what was sent.
	requests, repeats int
}

func (t *transport) exchange(to netip.AddrPort, c *Config) *exchange {
	x := &exchange{
		t: t, timeout: c.Timeout, retries: c.Retries, community: c.Community.Reveal(), scratch: make([]byte, 1024),
		call: call{to: to, replies: make(chan reply, 1)}, timer: time.NewTimer(time.Hour),
	}
	x.timer.Stop()
	return x
}

func (x *exchange) close() {
	x.timer.Stop()
	x.t.release(x.last)
	x.last = nil
}

// ask sends the request, again when there is no answer, and returns what came. The answer is valid until the next ask.
func (x *exchange) ask(ctx context.Context, r *request) (answer, int, error) {
	x.t.release(x.last)
	x.last = nil
	x.t.register(&x.call)
	r.id, r.community = x.call.id, x.community
	a, size, err := x.attempts(ctx, r)
	heard := x.t.forget(&x.call)
	if err == nil {
		return a, size, nil
	}
	var f *failure
	if !errors.As(err, &f) {
		f = classify(err)
	}
	switch {
	case f.status != event.StatusTimeout:
	case heard.garbage:
		f = &failure{event.StatusError, "what came back is no SNMP message"}
	case heard.stranger.IsValid():
		f.text += fmt.Sprintf("; answers came from %s instead and were dropped", heard.stranger)
	}
	return answer{}, 0, f
}

func (x *exchange) attempts(ctx context.Context, r *request) (answer, int, error) {
	var last error
	for attempt := 0; attempt <= x.retries; attempt++ {
		if attempt > 0 {
			x.repeats++
			if x.shrink != nil {
				x.shrink(r)
			}
		}
		if err := x.t.send(&x.call, r.encode(&x.scratch)); err != nil {
			return answer{}, 0, err
		}
		x.requests++
		x.timer.Reset(x.timeout)
		select {
		case got := <-x.call.replies:
			x.timer.Stop()
			if got.err != nil {
				return answer{}, 0, got.err
			}
			x.last = got.packet
			a, err := decode(got.packet.data)
			if err == nil {
				return a, len(got.packet.data), nil
			}
			last = err
			x.t.dropped.WithLabelValues("malformed").Inc()
			x.t.release(x.last)
			x.last = nil
		case <-x.timer.C:
			if last == nil {
				last = errSilent
			}
		case <-ctx.Done():
			x.timer.Stop()
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return answer{}, 0, &failure{event.StatusTimeout, fmt.Sprintf("no answer before the job's deadline, after %s", tries(attempt+1))}
			}
			return answer{}, 0, &failure{event.StatusError, "the poll was called off"}
		}
	}
	if errors.Is(last, errSilent) {
		return answer{}, 0, &failure{event.StatusTimeout, fmt.Sprintf("no answer to %s in %s each: down, filtered, or wrong community", tries(x.retries+1), x.timeout)}
	}
	return answer{}, 0, last
}

var errSilent = errors.New("no answer")

func tries(n int) string {
	if n == 1 {
		return "1 request"
	}
	return fmt.Sprintf("%d requests", n)
}

// classify turns what the network or the decoder said into the outcome of a job.
func classify(err error) *failure {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return &failure{event.StatusRefused, "the target answers, but nothing listens on this port"}
	case isNetworkError(err):
		return &failure{event.StatusUnreachable, "the network cannot reach the target: " + err.Error()}
	case errors.Is(err, errMalformed):
		return &failure{event.StatusError, err.Error()}
	}
	return &failure{event.StatusError, "ask: " + err.Error()}
}
