package oncall_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/alerting/oncall"
	"kemi.dev/kemi/internal/conf"
)

// calendar makes an iCalendar file of events, each given as its lines.
func calendar(events ...string) string {
	text := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//\r\n"
	for i, e := range events {
		if !strings.Contains(e, "UID:") {
			e += "\nUID:" + string(rune('a'+i))
		}
		text += "BEGIN:VEVENT\r\n" + strings.ReplaceAll(e, "\n", "\r\n") + "\r\nEND:VEVENT\r\n"
	}
	return text + "END:VCALENDAR\r\n"
}

func holidays(ics string) (string, string, string) {
	return `
schedules:
  network:
    timezone: Asia/Seoul
    layers: [{start: 2026-01-05 09:00, people: [jo, sun]}]
    holidays: {file: h.ics, person: boss}
`, "h.ics", ics
}

// feasts lists when the boss is on call.
func feasts(t *testing.T, r *oncall.Roster, from, to string) string {
	t.Helper()
	var out []oncall.Shift
	for _, s := range r.Shifts("network", oncall.Primary, at(t, "Asia/Seoul", from), at(t, "Asia/Seoul", to)) {
		if s.Person == "boss" {
			out = append(out, s)
		}
	}
	return table(out)
}

func TestSomebodyElseIsOnCallOnHolidays(t *testing.T) {
	text, name, ics := holidays(calendar(
		"SUMMARY:New Year\nDTSTART;VALUE=DATE:20200101\nRRULE:FREQ=YEARLY\nTRANSP:TRANSPARENT",
		"SUMMARY:Seollal\nDTSTART;VALUE=DATE:20260216\nDTEND;VALUE=DATE:20260219",
		"SUMMARY:Day off\\, after it\nDTSTART;VALUE=DATE:20260219",
		"SUMMARY:Never\nDTSTART;VALUE=DATE:20260301\nSTATUS:CANCELLED",
		"SUMMARY:Half day\nDTSTART;TZID=Europe/Berlin:20261224T120000\nDURATION:PT12H",
		"SUMMARY:Release\nDTSTART:20260410T100000Z\nDTEND:20260410T120000Z",
		"SUMMARY:Local noon\nDTSTART:20260411T120000\nDTEND:20260411T130000",
	))
	r := roster(t, text, name, ics)
	check(t, feasts(t, r, "2026-02-01 00:00", "2027-02-01 00:00"), `
Mon 2026-02-16 00:00 +0900 .. Fri 2026-02-20 00:00 +0900  boss: holiday "Seollal, Day off, after it": the turn of boss in holidays
Fri 2026-04-10 19:00 +0900 .. Fri 2026-04-10 21:00 +0900  boss: holiday "Release": the turn of boss in holidays
Sat 2026-04-11 12:00 +0900 .. Sat 2026-04-11 13:00 +0900  boss: holiday "Local noon": the turn of boss in holidays
Thu 2026-12-24 20:00 +0900 .. Fri 2026-12-25 08:00 +0900  boss: holiday "Half day": the turn of boss in holidays
Fri 2027-01-01 00:00 +0900 .. Sat 2027-01-02 00:00 +0900  boss: holiday "New Year": the turn of boss in holidays
`)
	day := at(t, "Asia/Seoul", "2026-02-17 12:00")
	if s := r.At("network", oncall.Primary, day); s.Why.Code != oncall.WhyHoliday {
		t.Errorf("%+v", s.Why)
	}
	if s := r.At("network", oncall.Secondary, day); s.Person != "jo" {
		t.Errorf("%+v helps out", s)
	}
}

func TestHolidaysThatRecurKnowTheirExceptions(t *testing.T) {
	text, name, ics := holidays(calendar(
		"SUMMARY:Thanks\nDTSTART;VALUE=DATE:20251127\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH;COUNT=4\nEXDATE;VALUE=DATE:20271125\nRDATE;VALUE=DATE:20260601",
		"UID:x\nSUMMARY:Inventory\nDTSTART;TZID=Asia/Seoul:20260105T180000\nDTEND;TZID=Asia/Seoul:20260105T190000\nRRULE:FREQ=MONTHLY;UNTIL=20260405T090000Z",
		"UID:x\nSUMMARY:Inventory moved\nRECURRENCE-ID;TZID=Asia/Seoul:20260205T180000\nDTSTART;TZID=Asia/Seoul:20260206T180000\nDTEND;TZID=Asia/Seoul:20260206T190000",
		"SUMMARY:Fair\nDTSTART;VALUE=DATE:20260801\nRRULE:FREQ=DAILY;COUNT=3",
	))
	check(t, feasts(t, roster(t, text, name, ics), "2026-01-05 00:00", "2029-12-01 00:00"), `
Mon 2026-01-05 18:00 +0900 .. Mon 2026-01-05 19:00 +0900  boss: holiday "Inventory": the turn of boss in holidays
Fri 2026-02-06 18:00 +0900 .. Fri 2026-02-06 19:00 +0900  boss: holiday "Inventory moved": the turn of boss in holidays
Thu 2026-03-05 18:00 +0900 .. Thu 2026-03-05 19:00 +0900  boss: holiday "Inventory": the turn of boss in holidays
Sun 2026-04-05 18:00 +0900 .. Sun 2026-04-05 19:00 +0900  boss: holiday "Inventory": the turn of boss in holidays
Mon 2026-06-01 00:00 +0900 .. Tue 2026-06-02 00:00 +0900  boss: holiday "Thanks": the turn of boss in holidays
Sat 2026-08-01 00:00 +0900 .. Tue 2026-08-04 00:00 +0900  boss: holiday "Fair": the turn of boss in holidays
Thu 2026-11-26 00:00 +0900 .. Fri 2026-11-27 00:00 +0900  boss: holiday "Thanks": the turn of boss in holidays
Thu 2028-11-23 00:00 +0900 .. Fri 2028-11-24 00:00 +0900  boss: holiday "Thanks": the turn of boss in holidays
`)
}

func TestHolidaysMayHaveARotationOfTheirOwn(t *testing.T) {
	r := roster(t, `
schedules:
  network:
    timezone: Asia/Seoul
    layers: [{people: [boss]}]
    holidays: {file: h.ics, layer: {every: day, start: 2026-05-01, people: [jo, sun, lee]}}
`, "h.ics", calendar("SUMMARY:Children\nDTSTART;VALUE=DATE:20260505\nDTEND;VALUE=DATE:20260507"))
	check(t, table(r.Shifts("network", oncall.Primary, at(t, "Asia/Seoul", "2026-05-05 00:00"), at(t, "Asia/Seoul", "2026-05-07 00:00"))), `
Tue 2026-05-05 00:00 +0900 .. Wed 2026-05-06 00:00 +0900  sun: holiday "Children": the turn of sun in holidays
Wed 2026-05-06 00:00 +0900 .. Thu 2026-05-07 00:00 +0900  lee: holiday "Children": the turn of lee in holidays
`)
}

func TestACalendarThatCannotBeReadIsRefusedByName(t *testing.T) {
	for _, c := range []struct{ ics, want string }{
		{"", "it is not a calendar, or its end is missing"},
		{"\x00\x01\x02", "it is not a calendar, or its end is missing"},
		{strings.TrimSuffix(calendar("DTSTART;VALUE=DATE:20260101"), "END:VCALENDAR\r\n"), "it is not a calendar, or its end is missing"},
		{"garbage\r\nEND:VCALENDAR", "parse calendar"},
		{calendar(), "there is no event in it"},
		{calendar("SUMMARY:X"), `event "X": it has no DTSTART`},
		{calendar("DTSTART:tomorrow"), `event "a": DTSTART: "tomorrow" is not a date`},
		{calendar("DTSTART;TZID=Mars/Base:20260101T000000"), `event "a": DTSTART: there is no timezone "Mars/Base"`},
		{calendar("DTSTART;VALUE=DATE:20260102\nDTEND;VALUE=DATE:20260101"), `event "a": it ends before it starts`},
		{calendar("DTSTART;VALUE=DATE:20260102\nDTEND;VALUE=DATE:20290101"), `event "a": it lasts longer than a year`},
		{calendar("DTSTART;VALUE=DATE:20260102\nDURATION:P"), `event "a": DURATION: "P" is not a duration`},
		{calendar("DTSTART;VALUE=DATE:20260102\nRRULE:FREQ=SECONDLY"), "holidays recur by day, week, month or year"},
		{calendar("DTSTART;VALUE=DATE:20260102\nRRULE:FREQ=NEVER"), `event "a": RRULE FREQ=NEVER`},
		{calendar("DTSTART;VALUE=DATE:19010102\nRRULE:FREQ=DAILY"), "it happens more than 50000 times"},
		{calendar("DTSTART;VALUE=DATE:20260102\nRRULE:FREQ=WEEKLY;BYMONTH=2;BYMONTHDAY=31"), "there is no event in it"},
		{calendar("DTSTART;VALUE=DATE:20260102\nRRULE:FREQ=YEARLY;BYWEEKNO=53;BYMONTH=6"), "there is no event in it"},
		{calendar("DTSTART;VALUE=DATE:20260102\nEXDATE:never"), `EXDATE: "never" is not a date`},
	} {
		text, name, ics := holidays(c.ics)
		_, problems := load(t, text, name, ics)
		if len(problems) != 1 || !strings.Contains(problems[0].What, "h.ics: ") || !strings.Contains(problems[0].What, c.want) || problems[0].Line == 0 {
			t.Errorf("%q:\ngot  %v\nwant %s", c.ics, problems, c.want)
		}
	}
}

// Whatever the file is, it is refused with its name, or the schedule has an answer at every time.
func FuzzHolidays(f *testing.F) {
	f.Add([]byte(calendar("SUMMARY:A\nDTSTART;VALUE=DATE:20260101\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH;COUNT=4\nEXDATE;VALUE=DATE:20261126")))
	f.Add([]byte(calendar("DTSTART;TZID=Europe/Berlin:20261025T023000\nDURATION:P1DT2H", "DTSTART:20260101T000000Z\nRRULE:FREQ=WEEKLY;BYDAY=MO;UNTIL=20270101T000000Z;INTERVAL=2")))
	f.Add([]byte(calendar("UID:u\nDTSTART:20260101T000000\nRECURRENCE-ID:20260101T000000\nRDATE;VALUE=PERIOD:20260101T000000Z/PT1H")))
	f.Add([]byte("END:VCALENDAR"))
	dir := f.TempDir()
	file := filepath.Join(dir, "h.ics")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		at := conf.Pos{File: filepath.Join(dir, "kemi.yaml"), Line: 1, Column: 1}
		members := []oncall.Member{{Key: "jo", At: at}}
		r, problems := oncall.New(map[string]oncall.Person{"jo": {}, "boss": {}}, map[string]*oncall.Schedule{"network": {
			Pos: at, Timezone: "Asia/Seoul", Layers: []oncall.Layer{{Pos: at, People: members}},
			Holidays: &oncall.Holidays{Pos: at, File: "h.ics", Person: &oncall.Member{Key: "boss", At: at}},
		}})
		if len(problems) > 0 {
			if len(problems) != 1 || !strings.Contains(problems[0].What, file+": ") {
				t.Fatal(problems)
			}
			return
		}
		from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		for _, s := range r.Shifts("network", oncall.Primary, from, from.AddDate(1, 0, 0)) {
			if s.Person != "jo" && s.Person != "boss" {
				t.Fatal(s)
			}
		}
		var b bytes.Buffer
		if err := r.WriteICal(&b, "network", from, from.AddDate(0, 1, 0), from); err != nil {
			t.Fatal(err)
		}
	})
}
