package oncall_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/alerting/oncall"
	"kemi.dev/kemi/internal/conf"
)

func TestEveryMistakeIsNamedWithItsPlace(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown person", `
schedules: {network: {layers: [{start: 2026-01-05, people: [jo, sum]}]}}`, `8:65: there is no person "sum": did you mean "sun"?`},
		{"unknown secondary", `
schedules: {network: {layers: [{people: [jo]}], secondary: [{people: [max]}]}}`, `8:71: there is no person "max": add it under people:`},
		{"empty rotation", `
schedules: {network: {layers: [{start: 2026-01-05, people: []}]}}`, `8:60: the rotation has no people: write people: and who takes turns`},
		{"no layers", `
schedules: {network: {timezone: UTC}}`, `8:22: the schedule has no layers, so nobody is ever on call: write layers: [{every: week, start: 2026-01-05 09:00, people: […]}]`},
		{"no start", `
schedules: {network: {layers: [{people: [jo, sun]}]}}`, `8:32: the rotation has no start: write start: and when the first of them takes over, such as 2026-01-05 09:00`},
		{"unknown timezone", `
schedules: {network: {timezone: Asia/Seul, layers: [{people: [jo]}]}}`, `8:33: there is no timezone "Asia/Seul": use a name of the IANA list, such as Asia/Seoul or Europe/Berlin`},
		{"the machine's timezone", `
schedules: {network: {timezone: Local, layers: [{people: [jo]}]}}`, `8:33: there is no timezone "Local": use a name of the IANA list, such as Asia/Seoul or Europe/Berlin`},
		{"hours without length", `
schedules: {network: {layers: [{people: [jo], only: [{days: sat}, {from: "09:00", to: "09:00"}]}]}}`, `8:67: these hours cover nothing: let from and to differ; leave both out for the whole day`},
		{"hours outside", `
schedules: {network: {layers: [{people: [jo], only: [{days: sat}], from: 2026-01-05, until: 2026-01-10}]}}`, `8:53: the layer covers nothing: none of its hours is between 2026-01-05 00:00 and 2026-01-10 00:00: correct only, or from and until`},
		{"ends before it begins", `
schedules: {network: {layers: [{people: [jo], start: 2026-01-05 09:00, until: 2026-01-05}]}}`, `8:79: the layer ends before it begins, at 2026-01-05 09:00: write a later until`},
		{"not a length", `
schedules: {network: {layers: [{every: fortnight, people: [jo]}]}}`, `8:40: "every" cannot be read: it is not day, week, "3 days", "2 weeks" or a duration such as 12h: correct the value`},
		{"too short", `
schedules: {network: {layers: [{every: 5m, people: [jo]}]}}`, `8:40: "every" cannot be read: it is not a number of whole minutes between an hour and ten years: correct the value`},
		{"not a time", `
schedules: {network: {layers: [{start: monday, people: [jo]}]}}`, `8:40: "start" cannot be read: it is not a local date and time such as "2026-01-05 09:00": correct the value`},
		{"not a time of day", `
schedules: {network: {layers: [{people: [jo], only: [{to: "25:00"}]}]}}`, `8:59: "to" cannot be read: it is not a time of day such as "09:00": correct the value`},
		{"not a day", `
schedules: {network: {layers: [{people: [jo], only: [{days: [sat, sonntag]}]}]}}`, `8:67: "sonntag" is not a day of the week: write it like mon-fri or [sat, sun]`},
		{"not a secondary", `
schedules: {network: {layers: [{people: [jo]}], secondary: jo}}`, `8:60: secondary is neither next, none nor a list of layers: write secondary: next for the next person of the rotation`},
		{"unknown key", `
schedules: {network: {layers: [{peopel: [jo]}]}}`, `8:33: unknown key "peopel": did you mean "people"?`},
		{"holidays of nobody", `
schedules: {network: {layers: [{people: [jo]}], holidays: {file: a.ics}}}`, `8:59: holidays need either a person or a layer: write person: and who is on call on holidays, or layer: with a rotation`},
		{"holidays without a file", `
schedules: {network: {layers: [{people: [jo]}], holidays: {person: boss}}}`, `8:59: holidays have no file: write file: and the path of an iCalendar file`},
		{"holidays of somebody unknown", `
schedules: {network: {layers: [{people: [jo]}], holidays: {file: good.ics, person: bos}}}`, `8:84: there is no person "bos": did you mean "boss"?`},
		{"missing calendar", `
schedules: {network: {layers: [{people: [jo]}], holidays: {file: a.ics, person: boss}}}`, `8:59: read the holidays: DIR/a.ics: there is no such file: check the path: it is relative to the configuration file`},
		{"garbage calendar", `
schedules: {network: {layers: [{people: [jo]}], holidays: {file: bad.ics, person: boss}}}`, `8:59: read the holidays: DIR/bad.ics: it is not a calendar, or its end is missing: name an iCalendar file (RFC 5545), as calendar programs export it`},
		{"person's timezone", `
people:
  kim: {mail: kim@example.org, timezone: Seoul}`, `3:42: there is no timezone "Seoul": use a name of the IANA list, such as Asia/Seoul or Europe/Berlin`},
		{"person's mail", `
people:
  kim: {mail: "Kim <kim@example.org>"}`, `3:15: mail is not an address: write it like jo@example.org`},
		{"person's phone", `
people:
  kim: {phone: ask}`, `3:16: phone is not a number: write it like "+82 10 1234 5678"`},
		{"person who cannot be reached", `
people:
  kim: {name: Kim}`, `3:8: there is no way to reach this person: write ways: and the names of receivers, and the addresses that these need`},
		{
			"one mistake hides no other", `
schedules: {network: {timezone: Mars, layers: [{every: 5m, people: [jo, sum], only: [{days: [sut, sot]}]}], holidays: {file: a.ics, person: bos}}}`,
			`8:33: there is no timezone "Mars": use a name of the IANA list, such as Asia/Seoul or Europe/Berlin
8:48: the rotation has no start: write start: and when the first of them takes over, such as 2026-01-05 09:00
8:56: "every" cannot be read: it is not a number of whole minutes between an hour and ten years: correct the value
8:94: "sut" is not a day of the week: write it like mon-fri or [sat, sun]
8:99: "sot" is not a day of the week: write it like mon-fri or [sat, sun]`,
		},
		{"key of a person", `
people:
  team/kim: {mail: kim@example.org}`, `3:13: "team/kim" cannot be the key of a person: use letters, digits, - and _; the full name goes into name:`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := load(t, c.text, "bad.ics", "<html>", "good.ics", calendar("DTSTART;VALUE=DATE:20260105"))
			var got []string
			for _, p := range problems {
				text := strings.ReplaceAll(p.String(), filepath.Dir(p.File), "DIR")
				got = append(got, strings.TrimPrefix(text, "DIR/kemi.yaml:"))
			}
			check(t, strings.Join(got, "\n"), c.want)
		})
	}
}

func TestGapsSayWhenNobodyIsOnCall(t *testing.T) {
	r := roster(t, `
people:
  jo:     {mail: jo@example.org}
  leaver: {mail: leaver@example.org, leaves: 2026-01-09 18:00}
  gone:   {mail: gone@example.org, leaves: 2026-01-01}
schedules:
  always: {timezone: Asia/Seoul, layers: [{people: [jo]}]}
  office: {timezone: Asia/Seoul, layers: [{people: [jo], only: [{days: mon-fri, from: "09:00", to: "18:00"}]}]}
  over:   {timezone: Asia/Seoul, layers: [{people: [jo], until: 2026-01-06}]}
  past:   {timezone: Asia/Seoul, layers: [{people: [jo], until: 2026-01-02}]}
  soon:   {timezone: Asia/Seoul, layers: [{people: [jo], from: 2026-01-08}]}
  then:   {timezone: Asia/Seoul, layers: [{people: [leaver]}]}
  was:    {timezone: Asia/Seoul, layers: [{people: [gone]}]}
`)
	var got []string
	for _, name := range r.Schedules() {
		gap, found := r.Gap(name, at(t, "Asia/Seoul", "2026-01-05 12:00"), at(t, "Asia/Seoul", "2026-01-12 12:00"))
		if found && gap.Problem.Line == 0 {
			t.Error("no place")
		}
		if found {
			got = append(got, fmt.Sprint(gap.Problem.What, map[bool]string{true: " (always)"}[gap.Always]))
		}
	}
	check(t, strings.Join(got, "\n"), `
nobody is on call for "office" from Mon 2026-01-05 18:00 KST until Tue 2026-01-06 09:00 KST, and 4 times more before Mon 2026-01-12 12:00 KST
nobody is on call for "over" from Tue 2026-01-06 00:00 KST for good
nobody is on call for "past" for good (always)
nobody is on call for "soon" until Thu 2026-01-08 00:00 KST
nobody is on call for "then" from Fri 2026-01-09 18:00 KST for good, when everybody in it has left (leaver on Fri 2026-01-09 18:00 KST)
nobody is on call for "was" for good, when everybody in it has left (gone on Thu 2026-01-01 00:00 KST) (always)
`)
}

func TestAScheduleThatIsNotThereHasNobody(t *testing.T) {
	r := roster(t, weekly)
	if s := r.At("shop", oncall.Primary, time.Now()); s.Person != "" || s.Why.Code != oncall.WhyNoSuch {
		t.Errorf("%+v", s)
	}
	if s := r.At("network", "tertiary", time.Now()); s.Person != "" || s.Why.Text != `there is no role "tertiary"` {
		t.Errorf("%+v", s)
	}
	if s := r.Shifts("shop", oncall.Primary, time.Unix(0, 0), time.Unix(9, 0)); s != nil {
		t.Errorf("%+v", s)
	}
	if _, ok := r.Next("shop", oncall.Primary, time.Now()); ok {
		t.Error("there is a next")
	}
}

// Whatever stands in the file: it is refused with a place, or every question gets an answer.
func FuzzConfig(f *testing.F) {
	f.Add("2 weeks", "2026-01-05 09:00", "fri-mon, wed", "22:00", "06:00", "2026-02-01", "Europe/Berlin")
	f.Add("90m", "2026-03-29T02:30:00", "sat", "00:00", "24:00", "2099-12-31 23:59", "Australia/Lord_Howe")
	f.Add("day", "0001-01-01", "mon", "9:00", "9:15", "9999-12-31", "Pacific/Apia")
	f.Fuzz(func(t *testing.T, every, start, days, from, to, until, zone string) {
		text := people + "schedules:\n  network: {timezone: " + quote(zone) + ", layers: [{every: " + quote(every) + ", start: " + quote(start) +
			", people: [jo, sun], until: " + quote(until) + ", only: [{days: " + quote(days) + ", from: " + quote(from) + ", to: " + quote(to) + "}]}]}\n"
		nodes, problems := conf.ParseRaw("kemi.yaml", []byte(text))
		if len(problems) > 0 {
			return
		}
		var c struct {
			People    map[string]oncall.Person    `yaml:"people"`
			Schedules map[string]*oncall.Schedule `yaml:"schedules"`
		}
		if problems := nodes[0].Into(&c); len(problems) > 0 {
			for _, p := range problems {
				if p.Line == 0 {
					t.Fatal(p)
				}
			}
			return
		}
		r, problems := oncall.New(c.People, c.Schedules)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		now := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
		for _, s := range r.Shifts("network", oncall.Primary, now, now.AddDate(0, 1, 0)) {
			if got := r.At("network", oncall.Primary, s.To.Add(-1)); !s.To.IsZero() && got.Person != s.Person {
				t.Fatal(got, s)
			}
		}
	})
}

// quote makes a scalar of YAML.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(strings.ToValidUTF8(s, "?")) + `"`
}
