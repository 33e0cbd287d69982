package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

var update = flag.Bool("update", false, "write the golden files of words that have none yet")

var at = time.Date(2026, 11, 21, 3, 14, 15, 926e6, time.UTC)

type word interface {
	event.Event
	Decode([]byte) error
}

// samples holds one event of every word, by the name of its golden file.
func samples() map[string]word {
	labels := event.LabelsOf(map[string]string{"target": "tor-1", "class": "switch", "team": "network", "site": "dc1"})
	target := &event.Target{
		ID: "tor-1", Class: "switch", Address: "127.1.0.2:1161", Team: "network",
		Labels: map[string]string{"site": "dc1"}, Lifecycle: event.Active,
		Checks:    []event.Check{{Name: "snmp", Kind: "snmp", Every: 10 * time.Second, Profile: "interfaces", Credential: "lab"}},
		Relations: map[string][]event.Need{event.ConnectedTo: {{"core-1", "core-2"}}, event.PoweredBy: {{"pdu-7"}}},
		Source:    "file:targets/dc1.yaml:12", Updated: at,
	}
	target.Version = target.ComputeVersion()
	job := event.JobFor(target, target.Checks[0], at, at.Add(10*time.Second), 10*time.Second, event.CauseSchedule, "")
	reading := event.ReadingFor(job)
	reading.Status, reading.Started, reading.Duration, reading.Booted = event.StatusPartial, at.Add(3*time.Millisecond), 1500*time.Microsecond, at.Add(-time.Hour)
	reading.Message = "ifHCOutOctets: no answer"
	reading.Tables = []event.Table{{
		Name: "interfaces", Rows: 2, Truncated: true,
		Index: []event.IndexColumn{{Name: "ifIndex", Values: []string{"1", "2"}}, {Name: "ifName", Values: []string{"lo", "eth0"}}},
		Columns: []event.Column{
			{Name: "ifHCInOctets", Kind: event.Counter, Unit: "bytes", Counters: []uint64{0, math.MaxUint64}},
			{Name: "ifHighSpeed", Kind: event.Gauge, Gauges: []float64{0, 10000}, Missing: []uint32{0}},
			{Name: "ifDescr", Kind: event.Text, Texts: []string{"loopback", "uplink"}},
		},
	}}
	reason := event.Reason{Code: "condition-true", Text: "up == 0", Causes: []string{job.Identity()}}
	finding := &event.Finding{
		Rule: "kemi/TargetDown", Alert: "TargetDown", Verdict: event.VerdictFiring, Target: "tor-1", Team: "network",
		Domain: "default", Labels: labels.With(map[string]string{"alertname": "TargetDown", "severity": "critical"}),
		Annotations: map[string]string{"summary": "tor-1 is down"}, Value: 0, Since: at.Add(-time.Minute), At: at,
		Reading: job.Identity(), Reason: reason,
	}
	alert := &event.Alert{
		ID: event.AlertID(finding.Rule, finding.Labels), Name: "TargetDown", Rule: finding.Rule, State: event.AlertResolved,
		Target: "tor-1", Team: "network", Domain: "default", Severity: "critical", Labels: finding.Labels,
		Annotations: finding.Annotations, StartsAt: finding.Since, EndsAt: at, Updated: at, Finding: finding.Identity(),
		Reason: event.Reason{Code: "condition-false"},
	}
	incident := &event.Incident{
		ID: "inc1", Domain: "default", State: event.IncidentOpen, Team: "network", Cause: "core-1", Title: "core-1 (switch) is down",
		Severity: "critical", Alerts: []event.IncidentAlert{{ID: alert.ID, Name: "TargetDown", Target: "core-1", State: event.AlertFiring, StartsAt: at}},
		Firing: 1, Suppressed: map[string]int{"switch": 1}, SuppressedTotal: 1,
		Examples: []event.SuppressedAlert{{ID: alert.ID, Name: "TargetDown", Target: "tor-1", Class: "switch", Reason: event.Reason{Code: "parent-down", Causes: []string{"core-1"}}}},
		OpenedAt: at, Updated: at, Revision: 3, Told: []string{"network-hook"}, Reason: event.Reason{Code: "opened"},
	}
	page := &event.Page{
		ID: event.PageID("inc1", "network-hook", event.PageFiring, 1), Incident: "inc1", Domain: "default", Team: "network",
		Receiver: "network-hook", Kind: event.PageFiring, Stage: event.PageRetrying, DedupKey: "inc1", Title: incident.Title,
		Snapshot: incident, Attempts: 1, Response: "503", NextTry: at.Add(time.Second), Created: at, Updated: at,
		Reason: event.Reason{Code: "incident-opened"},
	}
	return map[string]word{
		"target.json": target, "job.pb": job, "reading.pb": reading, "finding.json": finding, "alert.json": alert,
		"incident.json": incident, "page.json": page,
		"command.json": &event.Command{Kind: event.AcceptShrink, Subject: "file:targets", By: "jo", At: at, Comment: "rack 7 is gone"},
		"silence.json": &event.Silence{
			ID: "s-1", Kind: event.MaintenanceWindow, Matchers: []event.Matcher{{Name: "site", Value: "dc1|dc2", Regex: true}, {Name: "severity", Value: "critical", Negative: true}},
			StartsAt: at, EndsAt: at.Add(24 * time.Hour), Recurs: "FREQ=DAILY;INTERVAL=2", LastsSeconds: 3600, Timezone: "Asia/Seoul", Inherit: true,
			By: "jo", Comment: "new firmware", Annotations: map[string]string{"change": "CHG-7"}, Updated: at,
		},
		"override.json": &event.Override{ID: "o-1", Schedule: "network", Person: "sun", For: "jo", StartsAt: at, EndsAt: at.Add(8 * time.Hour), By: "jo", Comment: "dentist", Updated: at},
	}
}

// The wire forms in testdata/v1 are what strangers have stored: today's code reads every one of them, and writes the
// same bytes.
func TestWireFormsAreReadAndWrittenAsEver(t *testing.T) {
	for name, e := range samples() {
		t.Run(name, func(t *testing.T) {
			got, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "v1", name)
			if _, err := os.Stat(file); *update && os.IsNotExist(err) {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v; a new word gets its golden file with -update", err)
			}
			back, err := event.Parse(e.Topic().Name, golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(event.Event(e), back); diff != "" {
				t.Errorf("the golden file reads differently (-now +golden):\n%s", diff)
			}
			if strings.HasSuffix(name, ".json") && !bytes.Equal(got, golden) {
				t.Errorf("wrote  %s\ngolden %s", got, golden)
			}
		})
	}
}

func TestCloudEventsCarryWhatTheSpecificationAsks(t *testing.T) {
	for name, e := range samples() {
		if !strings.HasSuffix(name, ".json") {
			continue
		}
		data, _ := e.Encode()
		var ce map[string]any
		if err := json.Unmarshal(data, &ce); err != nil {
			t.Fatal(err)
		}
		for _, attribute := range []string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"} {
			if ce[attribute] == nil || ce[attribute] == "" {
				t.Errorf("%s has no %s", name, attribute)
			}
		}
	}
}

func TestReadingAsJSONHasRowsAndWholeCounters(t *testing.T) {
	data, err := json.Marshal(samples()["reading.pb"])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"target":"tor-1"`, `"status":"partial"`, `"duration_ms":1.5`, `"name":"interfaces"`,
		`{"labels":{"ifIndex":"1","ifName":"lo"},"values":{"ifDescr":"loopback","ifHCInOctets":0}}`,
		`"ifHCInOctets":18446744073709551615`, `"ifHighSpeed":10000`,
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%s\nlacks %s", data, want)
		}
	}
}

func TestBadBytesAreMalformedNotPanics(t *testing.T) {
	wrongType, _ := samples()["alert.json"].Encode()
	cases := map[string][]byte{
		"targets.v1": []byte(`{"specversion":"0.3","type":"dev.kemi.target.v1","data":{}}`), "alerts.v1": []byte(`{`),
		"findings.v1": wrongType, "jobs.v1.default": {}, "readings.v1": []byte("\xff\xff\xff"),
		"pages.v1": []byte(`{"specversion":"1.0","type":"dev.kemi.page.v1"}`),
	}
	for topic, data := range cases {
		if _, err := event.Parse(topic, data); !errors.Is(err, event.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", topic, err)
		}
	}
	if _, err := event.Parse("weather.v1", nil); err == nil {
		t.Error("a topic of strangers was parsed")
	}
}

func TestTablesThatDoNotAddUpAreRefused(t *testing.T) {
	ok := func() *event.Reading { return samples()["reading.pb"].(*event.Reading) }
	for name, spoil := range map[string]func(*event.Table){
		"short column":        func(tb *event.Table) { tb.Columns[0].Counters = tb.Columns[0].Counters[:1] },
		"short index":         func(tb *event.Table) { tb.Index[0].Values = nil },
		"two kinds of cells":  func(tb *event.Table) { tb.Columns[0].Gauges = []float64{1, 2} },
		"unknown kind":        func(tb *event.Table) { tb.Columns[0].Kind = "histogram" },
		"missing beyond":      func(tb *event.Table) { tb.Columns[1].Missing = []uint32{2} },
		"missing out of line": func(tb *event.Table) { tb.Columns[1].Missing = []uint32{1, 0} },
	} {
		r := ok()
		spoil(&r.Tables[0])
		if _, err := r.Encode(); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

func TestIdentityIsTheFactNotTheSaying(t *testing.T) {
	a, b := samples(), samples()
	seen := map[string]string{}
	for name := range a {
		if a[name].Identity() != b[name].Identity() {
			t.Errorf("%s: the same fact has two identities", name)
		}
		if other, twice := seen[a[name].Identity()]; twice && (name == "job.pb") == (other == "job.pb") {
			t.Errorf("%s and %s share an identity", name, other)
		}
		seen[a[name].Identity()] = name
	}
	target := a["target.json"].(*event.Target)
	version := target.Version
	target.Labels["rack"] = "r1"
	if target.ComputeVersion() == version {
		t.Error("a new label left the version alone")
	}
	delete(target.Labels, "rack")
	target.Source, target.Updated = "elsewhere", at.Add(time.Hour)
	if target.ComputeVersion() != version {
		t.Error("where and when a target was read changed its version")
	}
}

func TestIdentitiesDifferWhereThePartsDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.String(), 1, 5)
		a, b := parts.Draw(t, "a"), parts.Draw(t, "b")
		if same := cmp.Equal(a, b); same != (event.ComputeID(a...) == event.ComputeID(b...)) {
			t.Fatalf("%q and %q", a, b)
		}
	})
}

func TestReadingSurvivesTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.IntRange(0, 5).Draw(t, "rows")
		r := samples()["reading.pb"].(*event.Reading)
		table := event.Table{Name: "t", Rows: rows, Index: []event.IndexColumn{{Name: "i", Values: rapid.SliceOfN(rapid.String(), rows, rows).Draw(t, "index")}}}
		table.Columns = []event.Column{
			{Name: "c", Kind: event.Counter, Counters: rapid.SliceOfN(rapid.Uint64(), rows, rows).Draw(t, "counters")},
			{Name: "g", Kind: event.Gauge, Gauges: rapid.SliceOfN(rapid.Float64(), rows, rows).Draw(t, "gauges")},
		}
		if rows > 1 {
			table.Columns[1].Missing = []uint32{uint32(rapid.IntRange(0, rows-1).Draw(t, "missing"))}
		}
		r.Tables = []event.Table{table}
		data, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		var back event.Reading
		if err := back.Decode(data); err != nil {
			t.Fatal(err)
		}
		again, _ := back.Encode()
		if !bytes.Equal(data, again) {
			t.Fatal("read and written again, it differs")
		}
		n := 0
		for range back.Tables[0].Columns[1].Present(rows) {
			n++
		}
		if n != rows-len(table.Columns[1].Missing) {
			t.Fatalf("%d rows present of %d", n, rows)
		}
	})
}

func TestLabelsKeepTheirPromises(t *testing.T) {
	ls := event.LabelsOf(map[string]string{"b": "2", "a": `1"\`, "empty": ""})
	if got, want := ls.String(), `{a="1\"\\", b="2"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if ls.Get("b") != "2" || ls.Get("c") != "" {
		t.Error("Get finds the wrong value")
	}
	if got := ls.With(map[string]string{"a": "", "c": "3"}).String(); got != `{b="2", c="3"}` {
		t.Errorf("With gives %s", got)
	}
}

func FuzzParse(f *testing.F) {
	topics := []string{"targets.v1", "jobs.v1.default", "readings.v1", "findings.v1", "alerts.v1", "incidents.v1", "pages.v1", "commands.v1"}
	for _, e := range samples() {
		data, _ := e.Encode()
		for i := range topics {
			f.Add(i, data)
		}
	}
	f.Fuzz(func(t *testing.T, i int, data []byte) {
		if i < 0 || i >= len(topics) {
			return
		}
		e, err := event.Parse(topics[i], data)
		if err != nil {
			return
		}
		if _, err := e.Encode(); err != nil && topics[i] != "targets.v1" {
			t.Fatalf("what was read cannot be written: %v", err)
		}
	})
}

func BenchmarkReadingWire(b *testing.B) {
	r := samples()["reading.pb"].(*event.Reading)
	index := make([]string, 50)
	for i := range index {
		index[i] = "GigabitEthernet1/0/" + strings.Repeat("1", i%2+1)
	}
	table := event.Table{Name: "interfaces", Rows: 50, Index: []event.IndexColumn{{Name: "ifIndex", Values: index}, {Name: "ifName", Values: index}, {Name: "ifAlias", Values: index}}}
	for range 11 {
		c := event.Column{Name: "ifHCInOctets", Kind: event.Counter, Counters: make([]uint64, 50)}
		for i := range c.Counters {
			c.Counters[i] = uint64(i) << 36
		}
		table.Columns = append(table.Columns, c)
	}
	r.Tables = []event.Table{table}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Encode(); err != nil {
				b.Fatal(err)
			}
		}
	})
	data, _ := r.Encode()
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var back event.Reading
			if err := back.Decode(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
