package app

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/processors/ping"
)

func TestPingsReachTheBusAndNoMoreOfThemThanAreOfUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bus.New(mem.New(), bus.Settings{}, obs.Scope{})
		if err := b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		newBell(b, map[string]ping.Watch{
			"backup": {Every: 24 * time.Hour}, "payroll": {Every: 20 * time.Second, Token: conf.NewSecret("s3cret")},
		}).register(mux)
		ring := func(method, path string, header ...string) (int, string) {
			r := httptest.NewRequest(method, path, strings.NewReader("the job's output"))
			for i := 0; i < len(header); i += 2 {
				r.Header.Set(header[i], header[i+1])
			}
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			return w.Code, w.Body.String()
		}
		stored := func() string {
			var said []string
			if err := b.Read(t.Context(), bus.Span{Topic: "commands.v1", To: time.Now().Add(time.Hour)}, func(batch []bus.Raw) error {
				for _, raw := range batch {
					e, err := raw.Event()
					if err != nil {
						return err
					}
					said = append(said, string(e.(*event.Command).Kind)+" "+e.(*event.Command).Subject)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return strings.Join(said, ", ")
		}
		for range 100 { // Far too often.
			if code, body := ring("GET", "/ping/backup"); code != 200 || body != "OK\n" {
				t.Fatalf("%d %s", code, body)
			}
		}
		if got := stored(); got != "ping backup" {
			t.Fatalf("stored %q", got)
		}
		<-time.After(10 * time.Second)
		for _, c := range []struct {
			method, path string
			header       []string
			code         int
			want         string
		}{
			{"POST", "/ping/backup", nil, 200, "OK"},
			{"HEAD", "/ping/payroll?token=s3cret", nil, 200, ""},
			{"POST", "/ping/payroll", nil, 403, "needs its token"},
			{"POST", "/ping/payroll?token=wrong", nil, 403, "needs its token"},
			{"GET", "/ping/bakup", nil, 404, `did you mean "backup"?`},
			{"GET", "/ping/payrol", nil, 404, "add it to pings"},
			{"DELETE", "/ping/backup", nil, 405, ""},
		} {
			if code, body := ring(c.method, c.path, c.header...); code != c.code || !strings.Contains(body, c.want) {
				t.Errorf("%s %s: %d %q", c.method, c.path, code, body)
			}
		}
		<-time.After(2 * time.Second)
		if code, body := ring("GET", "/ping/payroll", "Authorization", "Bearer s3cret"); code != 200 {
			t.Errorf("with its token: %d %s", code, body)
		}
		if got := stored(); got != "ping backup, ping backup, ping payroll, ping payroll" {
			t.Errorf("stored %q", got)
		}
		b.Close()
		<-time.After(time.Minute)
		for range 2 { // What could not be stored is not held to be.
			if code, _ := ring("GET", "/ping/backup"); code != http.StatusServiceUnavailable {
				t.Errorf("while the bus is away: %d", code)
			}
		}
	})
}

// stuck is a broker that stores nothing until it is let.
type stuck struct {
	driver.Driver
	let chan struct{}
}

func (s stuck) Publish(ctx context.Context, records []driver.Record, f *driver.Fence) error {
	select {
	case <-s.let:
		return s.Driver.Publish(ctx, records, f)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// OK means that a ping is stored: also for the second one, while the first is still on its way.
func TestNoPingIsAnsweredBeforeItIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		b := bus.New(stuck{mem.New(), let}, bus.Settings{}, obs.Scope{})
		mux := http.NewServeMux()
		newBell(b, map[string]ping.Watch{"backup": {Every: time.Hour}}).register(mux)
		answers := make(chan int, 2)
		for range 2 {
			go func() {
				w := httptest.NewRecorder()
				mux.ServeHTTP(w, httptest.NewRequest("GET", "/ping/backup", nil))
				answers <- w.Code
			}()
			synctest.Wait()
		}
		if len(answers) != 0 {
			t.Errorf("%d were answered before anything was stored", len(answers))
		}
		close(let)
		for range 2 {
			<-answers
		}
	})
}

// cut is a broker that one process cannot reach for a while.
type cut struct {
	driver.Driver
	away *atomic.Bool
}

func (c cut) Publish(ctx context.Context, records []driver.Record, f *driver.Fence) error {
	if c.away.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return c.Driver.Publish(ctx, records, f)
}

// A ping that was answered with 503, by a process whose own link to the bus is broken, and that nobody sends again, counts
// from when it came, once that process has its link again; whoever watches was there all the time and excuses nobody.
func TestAPingThatCouldNotBeStoredCountsFromWhenItCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, away := mem.New(), &atomic.Bool{}
		watching, ringing := bus.New(d, bus.Settings{}, obs.Scope{}), bus.New(cut{d.Open(), away}, bus.Settings{}, obs.Scope{})
		if err := watching.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		watches := map[string]ping.Watch{"backup": {Every: time.Hour, Grace: time.Minute, Severity: "critical"}}
		room, err := ping.New(ping.Options{Bus: watching, Watches: watches})
		if err != nil {
			t.Fatal(err)
		}
		b := newBell(ringing, watches)
		mux := http.NewServeMux()
		b.register(mux)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = room.Run(ctx) })
		running.Go(func() { _ = b.run(ctx) })
		ring := func() int {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("GET", "/ping/backup", nil))
			return w.Code
		}
		if code := ring(); code != http.StatusOK {
			t.Fatalf("at first: %d", code)
		}
		<-time.After(time.Hour)
		away.Store(true)
		came := time.Now()
		if code := ring(); code != http.StatusServiceUnavailable {
			t.Fatalf("while the link is broken: %d", code)
		}
		<-time.After(20 * time.Second)
		away.Store(false)
		<-time.After(45 * time.Minute)
		firing := func() (n int) {
			if err := watching.Read(t.Context(), bus.Span{Topic: "findings.v1", To: time.Now().Add(time.Hour)}, func(batch []bus.Raw) error {
				for _, raw := range batch {
					e, err := raw.Event()
					if err != nil {
						return err
					}
					if e.(*event.Finding).Verdict == event.VerdictFiring {
						n++
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := firing(); n != 0 {
			t.Errorf("it is said to be missing, though it came")
		}
		<-time.After(time.Until(came.Add(61*time.Minute - 2*time.Second)))
		if n := firing(); n != 0 {
			t.Errorf("it is said to be missing before the next was due")
		}
		<-time.After(10 * time.Second)
		if n := firing(); n == 0 {
			t.Errorf("the next one never came, and nobody says so")
		}
		if len(b.kept) != 0 {
			t.Errorf("kept: %v", b.kept)
		}
		cancel()
		running.Wait()
	})
}
