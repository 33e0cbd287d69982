package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"kemi.dev/kemi/bus/driver"
)

// refusal is a permission that the user does not have. A server says so without being asked and leaves the request itself
// without an answer, so it looks like a timeout; heed brings the two together.
type refusal struct {
	verb    string // publish or subscribe
	subject string
	at      time.Time
}

// Error says what to allow.
func (r *refusal) Error() string {
	return fmt.Sprintf("the user may not %s to %s: allow it to %s to %s in the server's permissions", r.verb, r.subject, r.verb, pattern(r.subject))
}

var violation = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) (?:to|with reply of) "([^"]+)"`)

// refused reads a server's complaint.
func refused(err error, now time.Time) *refusal {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	m := violation.FindStringSubmatch(err.Error())
	if m == nil {
		return nil
	}
	r := &refusal{verb: "publish", subject: m[2], at: now}
	if !strings.EqualFold(m[1], r.verb) {
		r.verb = "subscribe"
	}
	return r
}

// partitioned finds where the partition begins in a record's subject.
var partitioned = regexp.MustCompile(`\.(p\d+|` + fenceToken + `)\.`)

// pattern is what to write into a server's permissions so that a subject is allowed: without the parts that are another
// name every time.
func pattern(subject string) string {
	parts := strings.Split(subject, ".")
	upTo := func(n int) string {
		if len(parts) <= n {
			return subject
		}
		return strings.Join(parts[:n], ".") + ".>"
	}
	switch {
	case strings.HasPrefix(subject, "$JS.API.CONSUMER.MSG.NEXT."), strings.HasPrefix(subject, "$JS.API.CONSUMER.DURABLE.CREATE."):
		return upTo(6)
	case strings.HasPrefix(subject, "$JS.API.CONSUMER."):
		return upTo(5)
	case strings.HasPrefix(subject, "$JS.ACK."):
		return upTo(3)
	case strings.HasPrefix(subject, "$KV."):
		return upTo(2)
	case strings.HasPrefix(subject, "$"):
		return subject
	}
	if at := partitioned.FindStringIndex(subject); at != nil {
		return subject[:at[0]] + ".>"
	}
	for i, p := range parts {
		if len(p) >= 22 { // The unique part of an inbox.
			return strings.Join(parts[:i], ".") + ".>"
		}
	}
	return subject
}

// recent is how long a refusal counts: for Health, and to explain a timeout.
const recent = time.Minute

// refusals are what a connection was refused.
type refusals struct {
	mu      sync.Mutex
	last    map[string]*refusal // By verb and pattern.
	mute    *refusal            // The inbox of all requests was refused: no answer comes, until the next connection.
	waiting map[*waiting]struct{}
}

// waiting is a call that a refusal ends.
type waiting struct {
	about  func(subject string) bool
	cancel context.CancelCauseFunc
}

// add notes a refusal and ends the calls that it is about.
func (rs *refusals) add(r *refusal, inboxes string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.last == nil || len(rs.last) > 1000 {
		rs.last = map[string]*refusal{}
	}
	rs.last[r.verb+" "+pattern(r.subject)] = r
	inbox := r.verb == "subscribe" && strings.HasPrefix(r.subject, inboxes+".")
	if inbox && strings.HasSuffix(r.subject, ".*") {
		rs.mute = r
	}
	for w := range rs.waiting {
		if inbox || w.about(r.subject) {
			w.cancel(r)
		}
	}
}

// heed ends ctx when something that it is about is refused; its cause is the refusal then.
func (rs *refusals) heed(ctx context.Context, about func(subject string) bool) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &waiting{about, cancel}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.mute != nil {
		cancel(rs.mute)
	}
	if rs.waiting == nil {
		rs.waiting = map[*waiting]struct{}{}
	}
	rs.waiting[w] = struct{}{}
	return ctx, func() {
		cancel(nil)
		rs.mu.Lock()
		defer rs.mu.Unlock()
		delete(rs.waiting, w)
	}
}

// speak forgets, with a new connection, that no answer comes.
func (rs *refusals) speak() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.mute = nil
}

// now are the refusals of late, the newest first.
func (rs *refusals) now(at time.Time) []*refusal {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var out []*refusal
	for _, r := range rs.last {
		if at.Sub(r.at) < recent {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *refusal) int { return b.at.Compare(a.at) })
	return out
}

// concerns matches the subjects by which a stream is asked for; that of a bucket has its keys with it, and what the client
// asks for when it makes one.
func concerns(stream string) func(subject string) bool {
	bucket, isBucket := strings.CutPrefix(stream, "KV_")
	return func(subject string) bool {
		if !strings.HasPrefix(subject, "$JS.API.") {
			return isBucket && strings.HasPrefix(subject, "$KV."+bucket+".")
		}
		return slices.Contains(strings.Split(subject, "."), stream) || isBucket && subject == "$JS.API.INFO"
	}
}

// warn logs that something did not work, once in a while for each error: what is tried again and again fails again and
// again. What is the whole link's trouble is told once for all, by the watch.
func (l *link) warn(log *slog.Logger, text string, err error, args ...any) {
	err = l.explain(err)
	key := err.Error()
	if r := new(refusal); errors.As(err, &r) {
		key = r.verb + pattern(r.subject) // The subject may be another every time.
	}
	if errors.Is(err, driver.ErrFull) {
		key = "" // It says how full, which is another number every time.
	}
	what, now := text+fmt.Sprint(args...), time.Now()
	if l.dialer != nil && idle(err) && l.absence.covers(what, now) {
		log.Debug(text, append(args, "err", err)...)
		return
	}
	if held, due := l.seldom.Says(what+key, now); due {
		log.Warn(text, append(args, "err", err, "held_back", held)...)
	}
}
