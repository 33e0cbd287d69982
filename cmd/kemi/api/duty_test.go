package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	ics "github.com/arran4/golang-ical"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/alerting/oncall"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/api"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/obs"
)

const dutyYAML = `people: {jo: {name: Jo Kim, ways: [pager]}, sun: {ways: [pager]}}
schedules: {network: {timezone: Asia/Seoul, layers: [{people: [jo]}], secondary: none}}
maintenance: [{name: sundays, matchers: ['class="printer"'], starts: 2026-01-04 02:00, recurs: "FREQ=WEEKLY;BYDAY=SU", lasts: 2h}]
`

// duty is the API of a process that runs no alerting, with some incidents.
func duty(t *testing.T) http.Handler {
	t.Helper()
	h, _ := dutyOn(t)
	return h
}

// dutyOn is duty, and the bus it is on.
func dutyOn(t *testing.T) (http.Handler, *bus.Bus) { return dutyOver(t, mem.New()) }

func dutyOver(t *testing.T, broker driver.Driver) (http.Handler, *bus.Bus) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kemi.yaml")
	if err := os.WriteFile(file, []byte(dutyYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	n, problems := conf.Load(file)
	var people map[string]oncall.Person
	var schedules map[string]*oncall.Schedule
	problems = append(append(problems, n.Get("people").Into(&people)...), n.Get("schedules").Into(&schedules)...)
	roster, more := oncall.New(people, schedules)
	if problems = append(problems, more...); len(problems) > 0 {
		t.Fatal(problems.Err())
	}
	b := bus.New(broker, bus.Settings{}, obs.Scope{})
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	if err := b.Publish(t.Context(),
		&event.Incident{ID: "abcd1111", Cause: "core-1", State: event.IncidentOpen, OpenedAt: now},
		&event.Incident{ID: "abcd2222", Cause: "core-2", State: event.IncidentOpen, OpenedAt: now},
		&event.Incident{ID: "over1111", Cause: "core-3", State: event.IncidentResolved, OpenedAt: now, ResolvedAt: now, Told: []string{"pager"}, Updated: now},
		&event.Target{ID: "rack", Class: "rack", Updated: now},
		&event.Target{ID: "srv", Class: "server", Updated: now, Relations: map[string][]event.Need{event.PoweredBy: {{"rack"}}}},
		&event.Alert{ID: "a1", Name: "Down", Target: "srv", State: event.AlertFiring, Labels: event.LabelsOf(map[string]string{"alertname": "Down", "target": "srv"}), Updated: now},
	); err != nil {
		t.Fatal(err)
	}
	m := view.New(b)
	d := &api.Duty{Bus: b, Model: m, Roster: roster, Holds: func() *hush.Set {
		set, _ := hush.New(hush.Config{Maintenance: n.Get("maintenance")})
		return set
	}}
	ctx, cancel := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	for _, run := range []func(context.Context) error{m.Run, d.FollowOverrides} {
		tasks.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
	}
	<-m.Ready()
	mux := http.NewServeMux()
	mux.Handle(api.Prefix+"/", api.New(b, m, func() any { return nil }))
	d.Register(mux)
	t.Cleanup(func() {
		cancel()
		tasks.Wait()
		b.Close()
	})
	return mux, b
}

func TestWhatCannotBeMeantIsRefusedWithWhatToDo(t *testing.T) {
	h := duty(t)
	for _, c := range []struct {
		method, path, body string
		code               int
		says               string
	}{
		{"POST", "/incidents/abcd/acknowledge", `{"by":"jo"}`, 409, `is the start of 2 incidents: say more of it, as of abcd1111, abcd2222`},
		{"POST", "/incidents/abce1111/acknowledge", `{"by":"jo"}`, 404, `did you mean \"abcd1111\"`},
		{"POST", "/incidents/abcd1111/acknowlege", `{"by":"jo"}`, 404, `did you mean \"acknowledge\"`},
		{"POST", "/incidents/abcd1111/acknowledge", `{}`, 400, "nobody is named"},
		{"POST", "/incidents/abcd1111/acknowledge", `{"by":"jo","until":"2020-01-01T00:00:00Z"}`, 400, "which is past"},
		{"POST", "/incidents/abcd1111/acknowledge", `{"by":"jo","for":"-2h"}`, 400, "no length of time"},
		{"POST", "/incidents/abcd1111/acknowledge", `{"by":"jo","to":"sun"}`, 400, "leave to out"},
		{"POST", "/incidents/abcd1111/acknowledge", `{"by":"jo","how":"fast"}`, 400, "unknown field"},
		{"POST", "/incidents/abcd1111/comment", `{"by":"jo","comment":" "}`, 400, "the comment is empty"},
		{"POST", "/incidents/abcd1111/comment", `{"by":"jo","comment":"x","for":"2h"}`, 400, "has no end"},
		{"POST", "/incidents/abcd1111/snooze", `{"by":"jo"}`, 400, "with until or for"},
		{"POST", "/incidents/abcd1111/assign", `{"by":"jo"}`, 400, "say to whom"},
		{"POST", "/incidents/abcd1111/assign", `{"by":"jo","to":"son"}`, 404, `did you mean \"sun\"`},
		{"POST", "/incidents/abcd1111/unacknowledge", `{"by":"jo"}`, 409, "nobody has acknowledged"},
		{"POST", "/incidents/over1111/resolve", `{"by":"jo"}`, 409, "is over since"},
		{"GET", "/oncall?schedule=netwrk", "", 404, `did you mean \"network\"`},
		{"GET", "/oncall?at=now", "", 400, "is no time"},
		{"GET", "/oncall/why?person=yo", "", 404, `did you mean \"jo\"`},
		{"GET", "/schedules/network", "", 404, "network.ics"},
		{"GET", "/schedules/net.ics", "", 404, "there is no schedule"},
		{"GET", "/schedules/network/shifts?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "", 400, "give a later one"},
		{"GET", "/schedules/network/shifts?from=2026-01-02T00:00:00Z&to=2036-01-01T00:00:00Z", "", 400, "more than 400 days"},
		{"POST", "/overrides", `{"by":"jo","schedule":"network","person":"sun"}`, 400, "it has no end"},
		{"POST", "/overrides", `{"by":"jo","schedule":"network","person":"sun","for":"sun","lasts":"2h"}`, 400, "cannot take over"},
		{"POST", "/overrides", `{"by":"jo","schedule":"network","person":"sun","lasts":"2h","id":"none"}`, 404, "there is no override"},
		{"DELETE", "/overrides/none?by=jo", "", 404, "there is no override"},
		{"DELETE", "/overrides/none", "", 400, "nobody is named"},
		{"POST", "/silences", `{"by":"jo","comment":"x","match":["a=b"]}`, 400, "it has no end"},
		{"POST", "/silences", `{"by":"jo","comment":"x","for":"2h"}`, 400, "there are no matchers"},
		{"POST", "/silences", `{"by":"jo","for":"2h","match":["a=b"]}`, 400, "there is no comment"},
		{"POST", "/silences", `{"by":"jo","comment":"x","for":"2h","match":["a b"]}`, 400, "is no matcher"},
		{"POST", "/silences", `{"by":"jo","comment":"x","for":"2h","match":["a=b"],"name":"x"}`, 400, "names are for maintenance"},
		{"POST", "/silences", `{"by":"jo","comment":"x","for":"2h","match":["a=b"],"id":"config:sundays"}`, 409, "change it there"},
		{"DELETE", "/silences/sundays?by=jo", "", 409, "change it there"},
		{"GET", "/silences?kind=quiet", "", 400, "there is no kind"},
	} {
		if code, says := ask(h, c.method, c.path, c.body); code != c.code || !strings.Contains(says, c.says) {
			t.Errorf("%s %s %s: %d %s; want %d %s", c.method, c.path, c.body, code, says, c.code, c.says)
		}
	}
}

// Without anybody who takes it in, the command waits on the bus, and whoever said it hears so.
func TestACommandThatNobodyTakesInYetIsSaidToWait(t *testing.T) {
	h := duty(t)
	code, says := ask(h, "POST", "/incidents/abcd1/acknowledge", `{"by":"jo","for":"2h","comment":"mine"}`)
	var a api.Acted
	if err := json.Unmarshal([]byte(says), &a); err != nil || code != http.StatusAccepted || a.Taken || a.Incident.ID != "abcd1111" {
		t.Fatalf("%d %s", code, says)
	}
	until, err := time.Parse(time.RFC3339, a.Command.Args["until"])
	if left := time.Until(until); err != nil || left < 119*time.Minute || left > 2*time.Hour+time.Second || a.Command.Kind != event.Acknowledge || a.Command.By != "jo" || a.Command.Comment != "mine" {
		t.Errorf("%+v", a.Command)
	}
}

// What was over before it was taken in is not said to be done.
func TestACommandThatComesTooLateIsSaidToHaveDoneNothing(t *testing.T) {
	h, b := dutyOn(t)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tasks.Go(func() { // It ends while whoever said it waits.
		_ = bus.Follow(ctx, b, bus.From{Time: time.Now().Add(-time.Hour)}, func(m bus.Message[event.Command]) error {
			return b.Publish(ctx, &event.Incident{ID: "abcd1111", Cause: "core-1", Title: "core-1 is up", State: event.IncidentResolved, OpenedAt: m.Event.At, ResolvedAt: m.Event.At, Updated: m.Event.At, Revision: 2, Told: []string{"pager"}})
		}, func() {})
	})
	code, says := ask(h, "POST", "/incidents/abcd1111/acknowledge", `{"by":"jo"}`)
	if code != http.StatusConflict || !strings.Contains(says, "abcd1111 is over since ") || !strings.Contains(says, "nothing came of it: core-1 is up") {
		t.Errorf("%d %s", code, says)
	}
}

// A process that runs no alerting knows who took over all the same.
func TestAnOverrideShowsAtOnceAndCanBeEnded(t *testing.T) {
	h := duty(t)
	who := func() (o api.OnCall) {
		_, says := ask(h, "GET", "/oncall", "")
		var all []api.OnCall
		if err := json.Unmarshal([]byte(says), &all); err != nil || len(all) != 1 {
			t.Fatal(says, err)
		}
		return all[0]
	}
	if o := who(); o.Primary.Person != "jo" || o.Primary.Name != "Jo Kim" || !o.Primary.To.IsZero() || o.NextPrimary != nil || o.Secondary.Person != "" {
		t.Errorf("before: %+v", o)
	}
	code, says := ask(h, "POST", "/overrides", `{"by":"jo","schedule":"network","person":"sun","lasts":"8h","comment":"dentist"}`)
	var made event.Override
	if err := json.Unmarshal([]byte(says), &made); err != nil || code != http.StatusCreated {
		t.Fatal(code, says)
	}
	if o := who(); o.Primary.Person != "sun" || !o.Primary.To.Equal(made.EndsAt) || o.NextPrimary == nil || o.NextPrimary.Person != "jo" {
		t.Errorf("with the override: %+v", o)
	}
	if code, says := ask(h, "GET", "/oncall/why?person=jo&schedule=network", ""); code != 200 || !strings.Contains(says, "was replaced") {
		t.Errorf("why not jo: %d %s", code, says)
	}
	_, calendar := ask(h, "GET", "/schedules/network.ics", "")
	c, err := ics.ParseCalendar(strings.NewReader(calendar))
	if err != nil || !strings.Contains(calendar, "sun on call: network") || len(c.Events()) < 3 {
		t.Errorf("the calendar: %v\n%s", err, calendar)
	}
	// Said again by the start of its id it is the same, and not a second one.
	code, says = ask(h, "POST", "/overrides", `{"id":"`+made.ID[:6]+`","by":"jo","schedule":"network","person":"sun","lasts":"1h"}`)
	var again event.Override
	if err := json.Unmarshal([]byte(says), &again); err != nil || again.ID != made.ID || !again.EndsAt.Before(made.EndsAt) {
		t.Errorf("said again: %d %s", code, says)
	}
	if code, says := ask(h, "DELETE", "/overrides/"+made.ID[:6]+"?by=jo", ""); code != 200 {
		t.Errorf("end: %d %s", code, says)
	}
	if o := who(); o.Primary.Person != "jo" {
		t.Errorf("after: %+v", o)
	}
	if code, says := ask(h, "DELETE", "/overrides/"+made.ID+"?by=jo", ""); code != 409 {
		t.Errorf("end again: %d %s", code, says)
	}
	if _, says := ask(h, "GET", "/overrides", ""); strings.TrimSpace(says) != "[]" {
		t.Errorf("what is over is listed: %s", says)
	}
	if _, says := ask(h, "GET", "/overrides?all=true", ""); !strings.Contains(says, made.ID) {
		t.Errorf("what is over is not listed though asked for: %s", says)
	}
}

// Maintenance of a rack holds for the server in it; a silence of the rack's label does not.
func TestASilenceSaysHowMuchItHolds(t *testing.T) {
	h := duty(t)
	for body, holds := range map[string]int{
		`"match":["alertname=Down"]`: 1, `"match":["target=~\"s.*\"","alertname!=Down"]`: 0, `"match":["target=rack"]`: 0,
		`"match":["target=rack"],"kind":"maintenance","inherit":true`: 1, `"match":["target=rack"],"kind":"maintenance"`: 0,
	} {
		code, says := ask(h, "POST", "/silences", `{"by":"jo","comment":"x","for":"1h",`+body+`}`)
		var s api.Silence
		if err := json.Unmarshal([]byte(says), &s); err != nil || code != 201 || s.Holds == nil || *s.Holds != holds || s.State != hush.Active {
			t.Errorf("%s: %d %s; want %d", body, code, says, holds)
		}
	}
	var all []api.Silence
	if _, says := ask(h, "GET", "/silences?kind=maintenance", ""); json.Unmarshal([]byte(says), &all) != nil || len(all) != 3 || !all[len(all)-1].Configured && !all[0].Configured && !all[1].Configured {
		t.Errorf("the windows: %s", says)
	}
}

// A window of the same name replaces the one before, at once, as often as a script says it.
func TestAWindowOfTheSameNameIsReplaced(t *testing.T) {
	h := duty(t)
	for i := range 5 {
		code, says := ask(h, "POST", "/silences", fmt.Sprintf(`{"kind":"maintenance","name":"deploy","by":"ci","comment":"v%d","for":"1h","match":["team=shop"]}`, i))
		if code != 201 {
			t.Fatal(code, says)
		}
		if code, says := ask(h, "GET", "/silences/deploy", ""); code != 200 || !strings.Contains(says, fmt.Sprintf(`"comment": "v%d"`, i)) {
			t.Fatalf("%d: %d %s", i, code, says)
		}
	}
	if code, says := ask(h, "DELETE", "/silences/deploy?by=jo", ""); code != 200 || !strings.Contains(says, `"state": "expired"`) || !strings.Contains(says, `"ended_by": "jo"`) {
		t.Errorf("end: %d %s", code, says)
	}
	if code, says := ask(h, "POST", "/silences", `{"kind":"maintenance","name":"sundays","by":"ci","comment":"x","for":"1h","match":["team=shop"]}`); code != 409 {
		t.Errorf("a name of the configuration: %d %s", code, says)
	}
}
