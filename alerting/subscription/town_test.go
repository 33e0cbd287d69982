package subscription

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/post"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

const secretOne, secretTwo = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_bmV3LXNlY3JldC1vZi10aGUtYmlsbGluZy10ZWFtISE="

// verify checks a request as the specification says a receiver does, and shares no code with what signs: the timestamp is
// not old, and one of the v1 signatures is that of id.timestamp.body.
func verify(secret string, get func(string) string, body []byte, now time.Time) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(get("webhook-timestamp"), 10, 64)
	if err != nil {
		return err
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > 5*time.Minute || age < -5*time.Minute {
		return fmt.Errorf("the timestamp is off by %s", age)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.%s", get("webhook-id"), seconds, body)
	want := mac.Sum(nil)
	for one := range strings.SplitSeq(get("webhook-signature"), " ") {
		version, signature, _ := strings.Cut(one, ",")
		if got, err := base64.StdEncoding.DecodeString(signature); err == nil && version == "v1" && hmac.Equal(got, want) {
			return nil
		}
	}
	return errors.New("no signature is right")
}

// post is what an endpoint got and took.
type parcel struct{ id, body, again string }

// hook is an endpoint without a network between: it verifies what it gets, and answers as it is told to.
type hook struct {
	t      *testing.T
	secret string
	// answer says which status an attempt gets; 0 is no answer at all. Nil takes everything.
	answer func(p parcel, attempt int) int
	// after is the Retry-After of what is not taken, took is called after something was.
	after time.Duration
	took  func(p parcel)
	// slow is how long an attempt takes.
	slow time.Duration

	mu       sync.Mutex
	got      []parcel
	attempts map[string]int
	times    []time.Time // Of all attempts.
	under    int         // How many are under way, and at most were.
	most     int
}

// Send implements sender, with the errors of post.Client.
func (h *hook) Send(ctx context.Context, r post.Request) (string, error) {
	if err := verify(h.secret, func(name string) string { return r.Headers[name] }, r.Body, time.Now()); err != nil {
		h.t.Errorf("a request that is not to be trusted: %v", err)
	}
	if r.ContentType != "application/cloudevents+json" || r.Method != "" && r.Method != http.MethodPost {
		h.t.Errorf("a %s of %s", r.Method, r.ContentType)
	}
	p := parcel{id: r.Headers["webhook-id"], body: string(r.Body), again: r.Headers["kemi-again"]}
	h.mu.Lock()
	h.attempts[p.id]++
	attempt := h.attempts[p.id]
	h.times = append(h.times, time.Now())
	h.under++
	h.most = max(h.most, h.under)
	h.mu.Unlock()
	if h.slow > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(h.slow):
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.under--
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	status := http.StatusOK
	if h.answer != nil {
		status = h.answer(p, attempt)
	}
	said := strings.TrimSpace(fmt.Sprint(status, " ", http.StatusText(status)))
	err := fmt.Errorf("the receiver answered %s", said)
	switch {
	case status == 0:
		return "", errors.New("reach the receiver: connection refused")
	case status/100 == 2:
		h.got = append(h.got, p)
		if h.took != nil {
			h.took(p)
		}
		return said, nil
	case post.Busy(status):
		return said, notify.RetryAfter(err, h.after)
	default:
		return said, notify.Permanent(err)
	}
}

func (h *hook) has() []parcel {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

// set changes how the endpoint answers.
func (h *hook) set(answer func(p parcel, attempt int) int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = answer
}

func always(status int) func(parcel, int) int { return func(parcel, int) int { return status } }

// town is a bus with processes on it that deliver.
type town struct {
	t     *testing.T
	d     *mem.Driver
	b     *bus.Bus
	subs  map[string]Config
	hooks map[string]*hook
}

// subscribing makes a subscription of topics, changed by how.
func subscribing(t *testing.T, names string, how ...func(*Config)) Config {
	var c Config
	c.SetDefaults()
	c.URL, c.Secret, c.Topics = conf.NewSecret("http://hooks.example/x"), conf.NewSecret(secretOne), strings.Fields(names)
	for _, h := range how {
		h(&c)
	}
	if wrong := c.Validate(); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	return c
}

func newTown(t *testing.T, subs map[string]Config) *town {
	d := mem.New()
	w := &town{t: t, d: d, b: bus.New(d, bus.Settings{}, obs.Scope{}), subs: subs, hooks: map[string]*hook{}}
	if err := w.b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name := range subs {
		w.hooks[name] = &hook{t: t, secret: secretOne, attempts: map[string]int{}}
	}
	return w
}

// process is one that delivers.
type process struct {
	d    *mem.Driver
	room *Room
	stop func()
	kill func() // As kill -9: the broker hears no goodbye, and nothing that happens after.
}

// start runs a process and waits until it owns what it gets.
func (w *town) start(wrap ...func(*mem.Driver) driver.Driver) *process {
	w.t.Helper()
	d := w.d.Open()
	var connection driver.Driver = d
	for _, f := range wrap {
		connection = f(d)
	}
	room, problems := New(Options{Bus: bus.New(connection, bus.Settings{}, obs.Scope{}), Subscriptions: w.subs})
	if err := problems.Err(); err != nil {
		w.t.Fatal(err)
	}
	for name, e := range room.endpoints {
		e.client = w.hooks[name]
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	over := make(chan error, 1)
	go func() { over <- room.Run(ctx) }()
	end := sync.OnceFunc(func() {
		cancel()
		if err := <-over; err != nil {
			w.t.Errorf("the room ended with %v", err)
		}
		connection.Close()
	})
	p := &process{d: d, room: room, stop: end, kill: sync.OnceFunc(func() { d.Lose(); end() })}
	w.t.Cleanup(p.stop)
	time.Sleep(time.Second)
	return p
}

// say publishes.
func (w *town) say(events ...event.Event) {
	w.t.Helper()
	if err := w.b.Publish(w.t.Context(), events...); err != nil {
		w.t.Fatal(err)
	}
}

// letters are the dead ones that nobody did anything about, oldest first.
func (w *town) letters(group string) []bus.Letter {
	w.t.Helper()
	all, _, err := w.b.Letters(w.t.Context(), bus.LetterFilter{Group: group}, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Reverse(all)
	return all
}

// incident is the nth thing said of one.
func incident(id string, revision int, team string) *event.Incident {
	now := time.Now().UTC()
	return &event.Incident{
		ID: id, Domain: event.DefaultDomain, State: event.IncidentOpen, Kind: event.IncidentOwn, Team: team, Title: fmt.Sprint(id, " ", revision),
		Severity: "critical", Urgency: event.UrgencyPage, OpenedAt: now, Updated: now, Revision: revision, Reason: event.Reason{Code: "test"},
	}
}

// series are n things said of an incident.
func series(id string, n int) (all []event.Event) {
	for i := range n {
		all = append(all, incident(id, i+1, "network"))
	}
	return all
}

// sequence is what was told of incidents, as "id revision", the first time each was.
func sequence(t *testing.T, got []parcel) (all []string) {
	seen := map[string]bool{}
	for _, p := range got {
		var i event.Incident
		if err := i.Decode([]byte(p.body)); err != nil {
			t.Fatal(err)
		}
		if p.id != i.Identity() {
			t.Errorf("webhook-id %s of %s", p.id, i.Identity())
		}
		if !seen[p.id] {
			seen[p.id] = true
			all = append(all, i.Title)
		}
	}
	return all
}

// of leaves what is about one incident.
func of(all []string, id string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !strings.HasPrefix(s, id+" ") })
}

// titles are what series says.
func titles(id string, n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint(id, " ", i+1))
	}
	return all
}
