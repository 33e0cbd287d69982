package alerting

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/inbox"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/internal/canary"
	"kemi.dev/kemi/internal/obs"
)

// house is a bus with a room on it, in virtual time.
type house struct {
	t       *testing.T
	d       *mem.Driver
	b       *bus.Bus
	boxes   *inbox.Set
	room    *Room // The newest.
	canary  *canary.Tracker
	extra   map[string]notify.Notifier
	wrap    func(*mem.Driver) driver.Driver // Of the next room's connection; may be nil.
	crash   func()
	stop    func() // As crash, but in good order.
	started time.Time
	config  string // Of the next room; may be empty.
}

const houseConfig = `
receivers:
  net-box: {inbox: {}}
  other-box: {inbox: {}}
teams:
  net: {receiver: net-box}
  default: {receiver: other-box}
inhibit_rules:
  - {name: power, source_matchers: [alertname="PowerLost"], target_matchers: [alertname="NoPower"], equal: [site]}
`

func newHouse(t *testing.T) *house {
	h := &house{t: t, d: mem.New(), boxes: &inbox.Set{}, canary: canary.New(canary.StageAlerting), extra: map[string]notify.Notifier{}, started: time.Now()}
	h.b = bus.New(h.d, bus.Settings{}, obs.Scope{})
	if err := h.b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.start()
	t.Cleanup(func() { h.crash() })
	return h
}

// start runs a room on a connection of its own.
func (h *house) start() {
	h.t.Helper()
	d := h.d.Open()
	var connection driver.Driver = d
	if h.wrap != nil {
		connection = h.wrap(d)
	}
	room, problems := New(h.options(h.configuration(), bus.New(connection, bus.Settings{}, obs.Scope{})))
	if err := problems.Err(); err != nil {
		h.t.Fatal(err)
	}
	h.room = room
	for name, n := range h.extra {
		configured := room.receivers[name] != nil
		room.receivers[name] = n
		room.people.receivers[name] = n
		if configured {
			continue // It has its place already.
		}
		team := &Team{Receiver: name}
		team.Escalation = team.usual()
		room.people.teams[name] = team
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- room.Run(ctx) }()
	var end sync.Once
	h.crash = func() {
		end.Do(func() {
			_ = d.Close() // First the connection, as a process that dies says nothing more.
			cancel()
			if err := <-done; err != nil && !errors.Is(err, driver.ErrClosed) {
				h.t.Errorf("run: %v", err)
			}
		})
	}
	h.stop = func() {
		end.Do(func() {
			cancel()
			if err := <-done; err != nil {
				h.t.Errorf("run: %v", err)
			}
			_ = d.Close()
		})
	}
}

func (h *house) say(events ...event.Event) {
	h.t.Helper()
	if err := h.b.Publish(h.t.Context(), events...); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) target(id, class, team string, needs ...string) {
	t := &event.Target{
		ID: id, Class: class, Team: team, Lifecycle: event.Active, Relations: map[string][]event.Need{},
		Checks: []event.Check{{Name: "ping", Kind: "icmp"}, {Name: "snmp", Kind: "snmp", Every: 10 * time.Second}},
	}
	for _, n := range needs {
		t.Relations[event.ConnectedTo] = append(t.Relations[event.ConnectedTo], event.Need{n})
	}
	t.Version = t.ComputeVersion()
	h.say(t)
}

func (h *house) verdict(id string, v event.Verdict, at time.Time) {
	h.say(&event.Finding{Rule: event.RuleReachable, Verdict: v, Target: id, Domain: event.DefaultDomain, Labels: event.LabelsOf(map[string]string{"target": id}), Since: at, At: at})
}

func (h *house) alert(id, team string, state event.AlertState, began time.Time) {
	h.say(&event.Alert{
		ID: "alert-" + id, Name: "TargetDown", Rule: "fleet/TargetDown", State: state, Target: id, Team: team, Domain: event.DefaultDomain,
		Severity: "critical", StartsAt: began, Updated: time.Now(),
	})
}

// down has a target fail now: verdict and alert.
func (h *house) down(id, team string) {
	h.verdict(id, event.VerdictFiring, time.Now())
	h.alert(id, team, event.AlertFiring, time.Now())
}

func (h *house) up(id, team string) {
	h.verdict(id, event.VerdictOK, time.Now())
	h.alert(id, team, event.AlertResolved, h.started)
}

// jobs takes the verifying polls that were asked for and answers them.
func (h *house) poll(answer func(target string) event.Verdict) {
	go func() {
		_ = bus.Work(h.t.Context(), h.b, event.JobsTopic(""), "pollers", 16, func(ctx context.Context, m bus.Message[event.Job]) error {
			j := m.Event
			if j.Cause != event.CauseVerify || j.AskedBy == "" || !j.Deadline.After(j.Slot) {
				h.t.Errorf("job %+v", j)
			}
			if j.Kind != "snmp" {
				return nil // One answer is enough.
			}
			v := answer(j.Target)
			wait := 20 * time.Millisecond
			if v == event.VerdictFiring {
				wait = 6 * time.Second
			}
			time.Sleep(wait) // Virtual: how long a poll takes.
			h.verdict(j.Target, v, j.Slot)
			return nil
		})
	}()
}

func (h *house) told(name string) (told []string) {
	for _, e := range h.boxes.Get(name).List() {
		told = append(told, fmt.Sprintf("%s %s", e.Page.Kind, e.Page.Title))
	}
	return told
}

func bubble(t *testing.T, f func(t *testing.T, h *house)) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		f(t, h)
		h.crash()
	})
}

// The whole way over a bus: children first, the parent is polled, one page to the parent's team and one resolved.
func TestOneCauseIsOnePageOverTheBus(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.poll(func(string) event.Verdict { return event.VerdictFiring })
		h.target("core-1", "switch", "net")
		h.target("srv-1", "server", "shop", "core-1")
		h.target("srv-2", "server", "shop", "core-1")
		time.Sleep(2 * time.Second)
		h.down("srv-1", "shop")
		h.down("srv-2", "shop")
		time.Sleep(30 * time.Second)
		h.up("core-1", "net")
		h.up("srv-1", "shop")
		h.up("srv-2", "shop")
		time.Sleep(10 * time.Second)
		want := []string{
			"firing core-1 (switch) is down: 2 targets behind it are unreachable (2 servers)",
			"resolved core-1 (switch) is up again after 24s: it took 2 targets behind it along (2 servers)",
		}
		if d := cmp.Diff(want, h.told("net-box")); d != "" {
			t.Error(d)
		}
		if others := h.told("other-box"); others != nil {
			t.Errorf("others were told %q", others)
		}
	})
}

// From a verdict to the decision it takes less than a second.
func TestAVerdictIsHeardAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.target("core-1", "switch", "net")
		h.target("srv-1", "server", "net", "core-1")
		time.Sleep(2300 * time.Millisecond)
		h.down("srv-1", "net")
		time.Sleep(1500 * time.Millisecond)
		asked := time.Now()
		h.verdict("core-1", event.VerdictOK, asked)
		var opened time.Time
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = bus.Follow(ctx, h.b, bus.From{}, func(m bus.Message[event.Incident]) error {
			if m.Event.State == event.IncidentOpen {
				opened = m.Stored
				cancel()
			}
			return nil
		}, nil)
		if opened.IsZero() || opened.Sub(asked) > 100*time.Millisecond {
			t.Errorf("decided %s after the verdict", opened.Sub(asked))
		}
	})
}

// Killed at any moment of a story and started again: nobody is left out, nobody is told twice, all is resolved.
func TestACrashAtAnyMomentLosesAndDoublesNothing(t *testing.T) {
	for k := range 60 {
		bubble(t, func(t *testing.T, h *house) {
			h.poll(func(string) event.Verdict { return event.VerdictFiring })
			h.target("core-1", "switch", "net")
			h.target("srv-1", "server", "net", "core-1")
			at := func(d time.Duration, f func()) { time.AfterFunc(d, f) }
			at(2*time.Second, func() { h.down("srv-1", "net") })
			at(12*time.Second, func() { h.alert("core-1", "net", event.AlertFiring, time.Now()) })
			at(25*time.Second, func() { h.up("core-1", "net") })
			at(26*time.Second, func() { h.up("srv-1", "net") })
			time.Sleep(time.Duration(k) * 500 * time.Millisecond)
			h.crash()
			time.Sleep(time.Duration(k%7) * 300 * time.Millisecond)
			h.start()
			time.Sleep(3 * time.Minute)
			var kinds []string
			for _, e := range h.boxes.Get("net-box").List() {
				kinds = append(kinds, string(e.Page.Kind)+" "+e.Page.Snapshot.Cause)
			}
			if d := cmp.Diff([]string{"firing core-1", "resolved core-1"}, kinds); d != "" {
				t.Errorf("killed after %s: %s", time.Duration(k)*500*time.Millisecond, d)
			}
		})
	}
}

// One receiver is down for five minutes, one hangs, one panics, one resets, one wants to be left alone: each is told
// once when it can be, in order, with the words of the time; the one that is well is not delayed.
func TestReceiversInTroubleAreToldOnceAndDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		down := func(context.Context, int, *event.Page) error {
			if time.Since(begin) < 5*time.Minute {
				return errors.New("connection refused")
			}
			return nil
		}
		all := map[string]*receiver{
			"down": {does: down},
			"hangs": {does: func(ctx context.Context, n int, _ *event.Page) error {
				if n <= 3 {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}},
			"deaf": {does: func(_ context.Context, n int, _ *event.Page) error {
				if n == 1 {
					time.Sleep(10 * time.Minute) // It does not heed its deadline.
					return errors.New("too late")
				}
				return nil
			}},
			"panics": {does: func(_ context.Context, n int, _ *event.Page) error {
				if n == 1 {
					panic("oh")
				}
				return nil
			}},
			"busy": {does: func(_ context.Context, n int, _ *event.Page) error {
				if n == 1 {
					return notify.RetryAfter(errors.New("429"), 42*time.Second)
				}
				return nil
			}},
			"refuses": {does: func(context.Context, int, *event.Page) error { return notify.Permanent(errors.New("404")) }},
			"well":    {does: func(context.Context, int, *event.Page) error { return nil }},
		}
		h := &house{t: t, d: mem.New(), boxes: &inbox.Set{}, extra: map[string]notify.Notifier{}, started: begin}
		h.b = bus.New(h.d, bus.Settings{}, obs.Scope{})
		if err := h.b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, r := range all {
			h.extra[name] = r
			h.target("of-"+name, "server", name)
		}
		h.start()
		time.Sleep(time.Second)
		for name := range all {
			h.verdict("of-"+name, event.VerdictFiring, time.Now())
			h.alert("of-"+name, name, event.AlertFiring, time.Now())
		}
		time.Sleep(7 * time.Minute)
		for name := range all {
			h.verdict("of-"+name, event.VerdictOK, time.Now())
			h.alert("of-"+name, name, event.AlertResolved, begin)
		}
		time.Sleep(20 * time.Minute)
		const slack = 3 * time.Second
		after := map[string]time.Duration{ // When each was told that it fires; the page is due after 6 s.
			"well": 6 * time.Second, "down": 5*time.Minute + 9*time.Second, "hangs": 43 * time.Second, "deaf": 18 * time.Second,
			"panics": 7 * time.Second, "busy": 48 * time.Second,
		}
		for name, r := range all {
			took, at := r.all()
			if name == "refuses" {
				if len(took) != 0 || len(r.attempts()) != 1 {
					t.Errorf("%s took %d pages of %d", name, len(took), len(r.attempts()))
				}
				continue
			}
			if len(took) != 2 || took[0].Kind != event.PageFiring || took[1].Kind != event.PageResolved {
				t.Errorf("%s took %d pages", name, len(took))
				continue
			}
			if s := took[0].Snapshot; s.State != event.IncidentOpen || !strings.Contains(took[0].Title, "is down") {
				t.Errorf("%s: the firing page says %q of an incident that is %s", name, took[0].Title, s.State)
			}
			if late := at[0].Sub(begin); late < after[name]-slack || late > after[name]+slack {
				t.Errorf("%s was told after %s; want %s", name, late, after[name])
			}
		}
		for id, n := range all["down"].attempts() {
			if n > 15 {
				t.Errorf("the receiver that was down was tried %d times for page %s", n, id)
			}
		}
		var stages []string
		err := bus.Snapshot(t.Context(), h.b, func(m bus.Message[event.Page]) error {
			stages = append(stages, m.Event.Receiver+" "+string(m.Event.Kind)+" "+string(m.Event.Stage))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range stages {
			name, _, _ := strings.Cut(s, " ")
			if name != "refuses" && !strings.HasSuffix(s, string(event.PageSent)) || name == "refuses" && s != "refuses firing failed" && s != "refuses resolved held" {
				t.Errorf("the ledger says %s", s)
			}
		}
		if len(stages) != 2*len(all) {
			t.Errorf("the ledger has %d pages: %q", len(stages), stages)
		}
		h.crash()
	})
}

// A page that was under way when the process died is sent again, and says so to those that cannot fold it.
func TestAPageUnderWayAtACrashIsMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &house{t: t, d: mem.New(), boxes: &inbox.Set{}, started: time.Now()}
		h.b = bus.New(h.d, bus.Settings{}, obs.Scope{})
		if err := h.b.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := &receiver{does: func(ctx context.Context, n int, _ *event.Page) error {
			if n == 1 {
				<-ctx.Done() // It arrived, but nobody here will hear of it.
			}
			return nil
		}}
		h.extra = map[string]notify.Notifier{"net": r}
		h.target("srv-1", "server", "net")
		h.start()
		time.Sleep(time.Second)
		h.down("srv-1", "net")
		time.Sleep(8 * time.Second)
		h.crash()
		synctest.Wait() // The receiver has it.
		h.start()
		time.Sleep(30 * time.Second)
		if took, _ := r.all(); len(took) != 2 || took[0].ID != took[1].ID || took[0].PossibleDuplicate || !took[1].PossibleDuplicate {
			t.Errorf("took %d pages; want the same twice, the second marked", len(took))
		}
		h.crash()
	})
}

// The canary's alert ends its trip and pages nobody.
func TestTheCanaryOnlyMarks(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		slot := time.Now().Add(-time.Second)
		h.say(&event.Alert{ID: "c", Name: "Canary", Rule: event.RuleCanary, State: event.AlertFiring, Target: event.CanaryTarget, Domain: event.DefaultDomain, StartsAt: slot, Updated: slot})
		time.Sleep(30 * time.Second)
		if got, _ := h.canary.Newest(); !got.Equal(slot) {
			t.Errorf("the trip ended at %s; want %s", got, slot)
		}
		if told := append(h.told("net-box"), h.told("other-box")...); len(told) > 0 {
			t.Errorf("told %q", told)
		}
	})
}

// A target that failed long before a restart is still known to be down after it: its children do not page.
func TestWhoIsDownSurvivesARestart(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.target("core-1", "switch", "net")
		h.target("srv-1", "server", "net", "core-1")
		time.Sleep(time.Second)
		h.down("core-1", "net")
		time.Sleep(5 * time.Hour)
		h.crash()
		h.start()
		time.Sleep(time.Second)
		h.down("srv-1", "net")
		time.Sleep(time.Minute)
		if told := h.told("net-box"); len(told) != 1 {
			t.Errorf("told %q", told)
		}
	})
}
