package oncall_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/alerting/oncall"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

const people = `
people:
  jo:   {name: Jo Kim, mail: jo@example.org, timezone: Asia/Seoul, handles: {slack: U1}, ways: [pager, mail]}
  sun:  {ways: [pager]}
  lee:  {ways: [pager]}
  boss: {name: The Boss, phone: "+82 10 1234 5678"}
`

// load reads a configuration in which `people:` of above is added when it has none of its own.
func load(t testing.TB, text string, files ...string) (*oncall.Roster, conf.Problems) {
	t.Helper()
	if !strings.Contains(text, "people:\n") {
		text = people + text
	}
	dir := t.TempDir()
	for i := 0; i+1 < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nodes, problems := conf.Parse(filepath.Join(dir, "kemi.yaml"), []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var c struct {
		People    map[string]oncall.Person    `yaml:"people"`
		Schedules map[string]*oncall.Schedule `yaml:"schedules"`
	}
	if problems := nodes[0].Into(&c); len(problems) > 0 {
		return nil, problems
	}
	return oncall.New(c.People, c.Schedules)
}

func roster(t testing.TB, text string, files ...string) *oncall.Roster {
	t.Helper()
	r, problems := load(t, text, files...)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return r
}

// at reads a time in a zone, such as "2026-01-05 09:00".
func at(t testing.TB, zone, s string) time.Time {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	out, err := time.ParseInLocation("2006-01-02 15:04", s, loc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// table shows shifts, one a line.
func table(shifts []oncall.Shift) string {
	var b strings.Builder
	show := func(t time.Time) string {
		if t.IsZero() {
			return "ever"
		}
		return t.Format("Mon 2006-01-02 15:04 -0700")
	}
	for _, s := range shifts {
		who := s.Person
		if who == "" {
			who = "nobody"
		}
		b.WriteString(show(s.From) + " .. " + show(s.To) + "  " + who + ": " + s.Why.Text + "\n")
	}
	return b.String()
}

func check(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(want), "\n"), strings.Split(strings.TrimSpace(got), "\n")); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

const weekly = `
schedules:
  network: {timezone: Asia/Seoul, layers: [{every: week, start: 2026-01-05 09:00, people: [jo, sun, lee]}]}
`

func TestAWeeklyRotationHandsOverAtItsTime(t *testing.T) {
	r := roster(t, weekly)
	from, to := at(t, "Asia/Seoul", "2026-01-01 00:00"), at(t, "Asia/Seoul", "2026-01-28 00:00")
	check(t, table(r.Shifts("network", oncall.Primary, from, to)), `
ever .. Mon 2026-01-05 09:00 +0900  nobody: no layer has anybody at this time
Mon 2026-01-05 09:00 +0900 .. Mon 2026-01-12 09:00 +0900  jo: the turn of jo in layer 1
Mon 2026-01-12 09:00 +0900 .. Mon 2026-01-19 09:00 +0900  sun: the turn of sun in layer 1
Mon 2026-01-19 09:00 +0900 .. Mon 2026-01-26 09:00 +0900  lee: the turn of lee in layer 1
Mon 2026-01-26 09:00 +0900 .. Mon 2026-02-02 09:00 +0900  jo: the turn of jo in layer 1
`)
	check(t, table(r.Shifts("network", oncall.Secondary, at(t, "Asia/Seoul", "2026-01-05 09:00"), to)), `
Mon 2026-01-05 09:00 +0900 .. Mon 2026-01-12 09:00 +0900  sun: next after the turn of jo in layer 1
Mon 2026-01-12 09:00 +0900 .. Mon 2026-01-19 09:00 +0900  lee: next after the turn of sun in layer 1
Mon 2026-01-19 09:00 +0900 .. Mon 2026-01-26 09:00 +0900  jo: next after the turn of lee in layer 1
Mon 2026-01-26 09:00 +0900 .. Mon 2026-02-02 09:00 +0900  sun: next after the turn of jo in layer 1
`)
	next, ok := r.Next("network", oncall.Primary, at(t, "Asia/Seoul", "2026-01-06 00:00"))
	if !ok || next.Person != "sun" || !next.From.Equal(at(t, "Asia/Seoul", "2026-01-12 09:00")) {
		t.Errorf("next is %v, %v", next, ok)
	}
}

func TestHandOversKeepTheirLocalTimeWhenTheClocksChange(t *testing.T) {
	r := roster(t, `
schedules:
  berlin: {timezone: Europe/Berlin, layers: [{every: day, start: 2026-03-27 02:30, people: [jo, sun]}]}
  autumn: {timezone: Europe/Berlin, layers: [{every: day, start: 2026-10-23 02:30, people: [jo, sun]}]}
  howe: {timezone: Australia/Lord_Howe, layers: [{every: 12h, start: 2026-04-04 01:45, people: [jo, sun]}]}
`)
	for _, c := range []struct{ schedule, zone, from, to, want string }{
		{"berlin", "Europe/Berlin", "2026-03-28 03:00", "2026-03-30 03:00", `
Sat 2026-03-28 02:30 +0100 .. Sun 2026-03-29 03:00 +0200  sun: the turn of sun in layer 1
Sun 2026-03-29 03:00 +0200 .. Mon 2026-03-30 02:30 +0200  jo: the turn of jo in layer 1
Mon 2026-03-30 02:30 +0200 .. Tue 2026-03-31 02:30 +0200  sun: the turn of sun in layer 1
`},
		{"autumn", "Europe/Berlin", "2026-10-24 03:00", "2026-10-26 03:00", `
Sat 2026-10-24 02:30 +0200 .. Sun 2026-10-25 02:30 +0200  sun: the turn of sun in layer 1
Sun 2026-10-25 02:30 +0200 .. Mon 2026-10-26 02:30 +0100  jo: the turn of jo in layer 1
Mon 2026-10-26 02:30 +0100 .. Tue 2026-10-27 02:30 +0100  sun: the turn of sun in layer 1
`},
		{"howe", "Australia/Lord_Howe", "2026-04-04 14:00", "2026-04-05 14:00", `
Sat 2026-04-04 13:45 +1100 .. Sun 2026-04-05 01:45 +1100  sun: the turn of sun in layer 1
Sun 2026-04-05 01:45 +1100 .. Sun 2026-04-05 13:45 +1030  jo: the turn of jo in layer 1
Sun 2026-04-05 13:45 +1030 .. Mon 2026-04-06 01:45 +1030  sun: the turn of sun in layer 1
`},
	} {
		t.Run(c.schedule, func(t *testing.T) {
			check(t, table(r.Shifts(c.schedule, oncall.Primary, at(t, c.zone, c.from), at(t, c.zone, c.to))), c.want)
		})
	}
}

func TestALeapDayIsADayLikeAnyOther(t *testing.T) {
	r := roster(t, `
schedules:
  network: {timezone: America/St_Johns, layers: [{every: 2 days, start: 2028-02-27, people: [jo, sun]}]}
`)
	from, to := at(t, "America/St_Johns", "2028-02-27 00:00"), at(t, "America/St_Johns", "2028-03-03 00:00")
	check(t, table(r.Shifts("network", oncall.Primary, from, to)), `
Sun 2028-02-27 00:00 -0330 .. Tue 2028-02-29 00:00 -0330  jo: the turn of jo in layer 1
Tue 2028-02-29 00:00 -0330 .. Thu 2028-03-02 00:00 -0330  sun: the turn of sun in layer 1
Thu 2028-03-02 00:00 -0330 .. Sat 2028-03-04 00:00 -0330  jo: the turn of jo in layer 1
`)
}

func TestALaterLayerWinsWhereItHasSomebody(t *testing.T) {
	r := roster(t, `
schedules:
  shop:
    timezone: Europe/Berlin
    layers:
      - {start: 2026-01-05 09:00, people: [jo, sun]}
      - {name: weekend, people: [lee], only: [{days: fri, from: "18:00", to: "24:00"}, {days: [sat, sun]}, {days: mon, to: "06:00"}]}
      - {name: fair, people: [boss], from: 2026-01-10 12:00, until: 2026-01-10 18:00}
`)
	from, to := at(t, "Europe/Berlin", "2026-01-09 00:00"), at(t, "Europe/Berlin", "2026-01-12 10:00")
	check(t, table(r.Shifts("shop", oncall.Primary, from, to)), `
Mon 2026-01-05 09:00 +0100 .. Fri 2026-01-09 18:00 +0100  jo: the turn of jo in layer 1
Fri 2026-01-09 18:00 +0100 .. Sat 2026-01-10 12:00 +0100  lee: the turn of lee in weekend
Sat 2026-01-10 12:00 +0100 .. Sat 2026-01-10 18:00 +0100  boss: the turn of boss in fair
Sat 2026-01-10 18:00 +0100 .. Mon 2026-01-12 06:00 +0100  lee: the turn of lee in weekend
Mon 2026-01-12 06:00 +0100 .. Mon 2026-01-12 09:00 +0100  jo: the turn of jo in layer 1
Mon 2026-01-12 09:00 +0100 .. Fri 2026-01-16 18:00 +0100  sun: the turn of sun in layer 1
`)
	// Whoever would be primary without the layer helps out the only person in it.
	if got := r.At("shop", oncall.Secondary, at(t, "Europe/Berlin", "2026-01-10 13:00")).Person; got != "lee" {
		t.Errorf("secondary of the fair is %q", got)
	}
	if got := r.At("shop", oncall.Secondary, at(t, "Europe/Berlin", "2026-01-10 19:00")).Person; got != "jo" {
		t.Errorf("secondary of the weekend is %q", got)
	}
}

func TestAPersonWhoLeftIsNeverOnCall(t *testing.T) {
	r := roster(t, `
people:
  jo:  {mail: jo@example.org}
  sun: {mail: sun@example.org, leaves: 2026-01-15 18:00}
  lee: {mail: lee@example.org}
schedules:
  network: {timezone: Asia/Seoul, layers: [{start: 2026-01-05 09:00, people: [jo, sun, lee]}]}
`)
	from, to := at(t, "Asia/Seoul", "2026-01-05 09:00"), at(t, "Asia/Seoul", "2026-02-10 09:00")
	check(t, table(r.Shifts("network", oncall.Primary, from, to)), `
Mon 2026-01-05 09:00 +0900 .. Mon 2026-01-12 09:00 +0900  jo: the turn of jo in layer 1
Mon 2026-01-12 09:00 +0900 .. Thu 2026-01-15 18:00 +0900  sun: the turn of sun in layer 1
Thu 2026-01-15 18:00 +0900 .. Mon 2026-01-19 09:00 +0900  lee: the turn of sun in layer 1, who has left: lee comes next
Mon 2026-01-19 09:00 +0900 .. Mon 2026-01-26 09:00 +0900  lee: the turn of lee in layer 1
Mon 2026-01-26 09:00 +0900 .. Mon 2026-02-02 09:00 +0900  jo: the turn of jo in layer 1
Mon 2026-02-02 09:00 +0900 .. Mon 2026-02-09 09:00 +0900  lee: the turn of sun in layer 1, who has left: lee comes next
Mon 2026-02-09 09:00 +0900 .. Mon 2026-02-16 09:00 +0900  lee: the turn of lee in layer 1
`)
	// An override does not bring anybody back.
	override(t, r, "o1", "sun", "", "2026-01-27 09:00", "2026-01-28 09:00", 1)
	if got := r.At("network", oncall.Primary, at(t, "Asia/Seoul", "2026-01-27 12:00")).Person; got != "jo" {
		t.Errorf("%q is on call", got)
	}
	if got := r.At("network", oncall.Secondary, at(t, "Asia/Seoul", "2026-01-27 12:00")).Person; got != "lee" {
		t.Errorf("%q is secondary", got)
	}
}

// override says one in Asia/Seoul, the minute-th minute of 2026.
func override(t testing.TB, r *oncall.Roster, id, person, forWhom, from, to string, minute int) *event.Override {
	t.Helper()
	o := &event.Override{
		ID: id, Schedule: "network", Person: person, For: forWhom, By: person, Comment: "dentist",
		StartsAt: at(t, "Asia/Seoul", from), EndsAt: at(t, "Asia/Seoul", to),
		Updated: time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC),
	}
	r.Put(o)
	return o
}

func TestTheNewestOverrideInForceWins(t *testing.T) {
	r := roster(t, weekly)
	override(t, r, "a", "lee", "", "2026-01-06 00:00", "2026-01-08 00:00", 1)
	newest := override(t, r, "b", "boss", "", "2026-01-07 00:00", "2026-01-07 12:00", 3)
	override(t, r, "c", "sun", "", "2026-01-07 06:00", "2026-01-09 00:00", 2)
	week := func() string {
		return table(r.Shifts("network", oncall.Primary, at(t, "Asia/Seoul", "2026-01-05 09:00"), at(t, "Asia/Seoul", "2026-01-12 09:00")))
	}
	check(t, week(), `
Mon 2026-01-05 09:00 +0900 .. Tue 2026-01-06 00:00 +0900  jo: the turn of jo in layer 1
Tue 2026-01-06 00:00 +0900 .. Wed 2026-01-07 00:00 +0900  lee: lee takes over from jo (the turn of jo in layer 1): override a by lee, "dentist"
Wed 2026-01-07 00:00 +0900 .. Wed 2026-01-07 12:00 +0900  boss: boss takes over from jo (the turn of jo in layer 1): override b by boss, "dentist"
Wed 2026-01-07 12:00 +0900 .. Fri 2026-01-09 00:00 +0900  sun: sun takes over from jo (the turn of jo in layer 1): override c by sun, "dentist"
Fri 2026-01-09 00:00 +0900 .. Mon 2026-01-12 09:00 +0900  jo: the turn of jo in layer 1
`)
	why := r.At("network", oncall.Primary, newest.StartsAt).Why
	if diff := cmp.Diff([]string{newest.Identity()}, why.Causes); diff != "" || why.Code != oncall.WhyOverride {
		t.Errorf("%+v", why)
	}
	// Said again with an earlier end it is over; what was said before does not come back.
	override(t, r, "c", "sun", "", "2026-01-07 06:00", "2026-01-07 06:00", 9)
	override(t, r, "c", "sun", "", "2026-01-07 06:00", "2026-01-09 00:00", 8)
	r.Drop("b")
	check(t, week(), `
Mon 2026-01-05 09:00 +0900 .. Tue 2026-01-06 00:00 +0900  jo: the turn of jo in layer 1
Tue 2026-01-06 00:00 +0900 .. Thu 2026-01-08 00:00 +0900  lee: lee takes over from jo (the turn of jo in layer 1): override a by lee, "dentist"
Thu 2026-01-08 00:00 +0900 .. Mon 2026-01-12 09:00 +0900  jo: the turn of jo in layer 1
`)
	if all := r.Overrides("network"); len(all) != 2 || all[0].ID != "c" {
		t.Errorf("%v", all)
	}
}

func TestTwoOverridesAreASwap(t *testing.T) {
	r := roster(t, weekly)
	override(t, r, "a", "sun", "jo", "2026-01-05 09:00", "2026-01-19 09:00", 1)
	override(t, r, "b", "jo", "sun", "2026-01-05 09:00", "2026-01-19 09:00", 2)
	for _, c := range []struct{ when, primary, secondary string }{
		{"2026-01-06 00:00", "sun", "jo"},
		{"2026-01-13 00:00", "jo", "lee"},
		{"2026-01-20 00:00", "lee", "jo"},
	} {
		now := at(t, "Asia/Seoul", c.when)
		if p, s := r.At("network", oncall.Primary, now).Person, r.At("network", oncall.Secondary, now).Person; p != c.primary || s != c.secondary {
			t.Errorf("%s: %s and %s, want %s and %s", c.when, p, s, c.primary, c.secondary)
		}
	}
}

func TestNobodyIsPrimaryAndSecondaryAtOnce(t *testing.T) {
	r := roster(t, weekly)
	override(t, r, "a", "sun", "", "2026-01-06 00:00", "2026-01-07 00:00", 1) // sun would be the secondary
	now := at(t, "Asia/Seoul", "2026-01-06 12:00")
	if p, s := r.At("network", oncall.Primary, now).Person, r.At("network", oncall.Secondary, now).Person; p != "sun" || s != "lee" {
		t.Errorf("%s and %s", p, s)
	}
	override(t, r, "b", "sun", "lee", "2026-01-06 00:00", "2026-01-07 00:00", 2) // and lee has sun do it: nobody is left
	if s := r.At("network", oncall.Secondary, now); s.Person != "" || s.Why.Code != oncall.WhyNobody {
		t.Errorf("%+v", s)
	}
}

func TestASecondaryMayHaveLayersOfItsOwnOrNone(t *testing.T) {
	r := roster(t, `
schedules:
  own:
    layers: [{start: 2026-01-05 09:00, people: [jo, sun]}]
    secondary: [{start: 2026-01-05 09:00, every: day, people: [lee, jo]}]
  alone: {layers: [{start: 2026-01-05 09:00, people: [jo, sun]}], secondary: none}
`)
	from, to := at(t, "UTC", "2026-01-05 09:00"), at(t, "UTC", "2026-01-07 09:00")
	check(t, table(r.Shifts("own", oncall.Secondary, from, to)), `
Mon 2026-01-05 09:00 +0000 .. Tue 2026-01-06 09:00 +0000  lee: the turn of lee in secondary layer 1
Tue 2026-01-06 09:00 +0000 .. Wed 2026-01-07 09:00 +0000  lee: next after the turn of jo in secondary layer 1
`)
	check(t, table(r.Shifts("alone", oncall.Secondary, from, to)), `
ever .. ever  nobody: the schedule has no secondary
`)
}

func TestExplainSaysWhyAndWhoInstead(t *testing.T) {
	r := roster(t, `
schedules:
  network:
    timezone: Asia/Seoul
    layers: [{start: 2026-01-05 09:00, people: [jo, sun]}, {name: night, people: [lee], only: [{from: "22:00", to: "06:00"}]}]
`)
	override(t, r, "o1", "boss", "sun", "2026-01-13 09:00", "2026-01-14 09:00", 1)
	for _, c := range []struct {
		role         oncall.Role
		person, when string
		code, text   string
	}{
		{"primary", "jo", "2026-01-06 12:00", oncall.WhyRotation, "jo is primary of network on Tue 2026-01-06 12:00 KST, until Tue 2026-01-06 22:00 KST: the turn of jo in layer 1"},
		{"primary", "jo", "2026-01-06 23:00", oncall.OtherLayer, "jo is not primary of network on Tue 2026-01-06 23:00 KST: has the turn in layer 1, but night wins; lee is, until Wed 2026-01-07 06:00 KST: the turn of lee in night; jo is next from Wed 2026-01-07 06:00 KST to Wed 2026-01-07 22:00 KST"},
		{"primary", "sun", "2026-01-13 12:00", oncall.Replaced, "sun is not primary of network on Tue 2026-01-13 12:00 KST: was replaced; boss is, until Tue 2026-01-13 22:00 KST: boss takes over from sun (the turn of sun in layer 1): override o1 by boss, \"dentist\"; sun is next from Wed 2026-01-14 09:00 KST to Wed 2026-01-14 22:00 KST"},
		{"primary", "sun", "2026-01-06 12:00", oncall.NotOnCall, "sun is not primary of network on Tue 2026-01-06 12:00 KST: it is not the turn of sun; jo is, until Tue 2026-01-06 22:00 KST: the turn of jo in layer 1; sun is next from Mon 2026-01-12 09:00 KST to Mon 2026-01-12 22:00 KST"},
		{"secondary", "jo", "2026-01-06 12:00", oncall.NotOnCall, "jo is not secondary of network on Tue 2026-01-06 12:00 KST: is the primary; sun is, until Tue 2026-01-06 22:00 KST: next after the turn of jo in layer 1; jo is next from Tue 2026-01-06 22:00 KST to Wed 2026-01-07 06:00 KST"},
		{"primary", "boss", "2026-01-06 12:00", oncall.NotOnCall, "boss is not primary of network on Tue 2026-01-06 12:00 KST: boss is in no rotation of the schedule; jo is, until Tue 2026-01-06 22:00 KST: the turn of jo in layer 1; boss is next from Tue 2026-01-13 09:00 KST to Tue 2026-01-13 22:00 KST"},
		{"primary", "kim", "2026-01-06 12:00", oncall.NoSuchPerson, "kim is not primary of network on Tue 2026-01-06 12:00 KST: there is no such person; jo is, until Tue 2026-01-06 22:00 KST: the turn of jo in layer 1"},
		{"primary", "jo", "2026-01-01 12:00", oncall.NotOnCall, "jo is not primary of network on Thu 2026-01-01 12:00 KST: it is not the turn of jo; nobody is, until Thu 2026-01-01 22:00 KST: no layer has anybody at this time; jo is next from Mon 2026-01-05 09:00 KST to Mon 2026-01-05 22:00 KST"},
	} {
		got := r.Explain("network", c.role, c.person, at(t, "Asia/Seoul", c.when))
		if got.Code != c.code {
			t.Errorf("%s at %s: code %s, want %s", c.person, c.when, got.Code, c.code)
		}
		check(t, got.Text, c.text)
	}
	if got := r.Explain("shop", oncall.Primary, "jo", time.Now()); got.Code != oncall.WhyNoSuch {
		t.Errorf("%+v", got)
	}
}

func TestCheckRefusesOverridesThatCannotBe(t *testing.T) {
	r := roster(t, weekly)
	good := event.Override{ID: "o", Schedule: "network", Person: "jo", StartsAt: time.Unix(0, 0), EndsAt: time.Unix(9, 0)}
	if err := r.Check(&good); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(o *event.Override){
		`check override: it has no id`:                                      func(o *event.Override) { o.ID = "" },
		`check override o: there is no schedule "net"`:                      func(o *event.Override) { o.Schedule = "net" },
		`check override o: there is no person "kim"`:                        func(o *event.Override) { o.Person = "kim" },
		`check override o: there is no person ""`:                           func(o *event.Override) { o.Person = "" },
		`check override o: there is no person "who"`:                        func(o *event.Override) { o.For = "who" },
		`check override o: jo cannot take over from jo: name somebody else`: func(o *event.Override) { o.For = "jo" },
		`check override o: it ends before it starts: give a later end`:      func(o *event.Override) { o.EndsAt = o.StartsAt },
	} {
		o := good
		change(&o)
		if err := r.Check(&o); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		r.Put(&o) // does no harm either
		r.At("network", oncall.Primary, time.Unix(5, 0))
	}
}
