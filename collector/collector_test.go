package collector

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/collector/snmp"
	"kemi.dev/kemi/internal/conf"
)

func credentials(t testing.TB, text string) map[string]conf.Node {
	t.Helper()
	nodes, problems := conf.ParseRaw("kemi.yaml", []byte(text))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	all := map[string]conf.Node{}
	for _, k := range nodes[0].Keys() {
		all[k.Text()] = nodes[0].Get(k.Text())
	}
	return all
}

func TestBadCredentialsAreToldWithTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"lab: {snmp: {version: 2c}}":                             "kemi.yaml:1:13: the community is missing",
		"lab: {snmp: {version: 3, community: hush}}":             "kemi.yaml:1:23: SNMP version 3 is not supported yet",
		"lab: {snmp: {version: 1, community: hush}}":             "SNMP version 1 is not supported yet",
		"lab: {snmp: {version: 2d, community: hush}}":            `there is no SNMP version "2d"`,
		"lab: {snmp: {comunity: hush}}":                          `did you mean "community"?`,
		"lab: {snmp: {community: hush, timeout: 0s}}":            "a timeout of 0s",
		"lab: {snmp: {community: hush, retries: 99}}":            "99 retries",
		"lab: {snmp: {community: hush, max_repetitions: 0}}":     "max_repetitions is 0",
		"lab: {snmp: {community: hush, port: 70000}}":            "no port 70000",
		"lab: {snpm: {community: hush}}":                         `unknown kind of credential "snpm": did you mean "snmp"?`,
		"lab:":                                                   `the credential "lab" is empty`,
		"lab: {snmp: {community_file: does-not-exist, port: 1}}": "there is no such file",
	} {
		_, problems := New(Options{Credentials: credentials(t, text)})
		if len(problems) != 1 || !strings.Contains(problems[0].String(), want) {
			t.Errorf("%s: got %v, want %s", text, problems, want)
		}
		if strings.Contains(problems.Error(), "hush") {
			t.Errorf("%s: the community is shown: %v", text, problems)
		}
	}
}

func TestARoomChecksWhatChecksSay(t *testing.T) {
	r, problems := New(Options{Credentials: credentials(t, "lab: {snmp: {community: public}, http: {bearer: x}}")})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	if !r.Credential("lab") || r.Credential("lob") {
		t.Error("credentials are not told apart")
	}
	if err := r.Profile("snmp", "interfases"); err == nil || !strings.Contains(err.Error(), `did you mean "interfaces"?`) {
		t.Error(err)
	}
	for _, err := range []error{r.Profile("snmp", ""), r.Profile("snmp", "host-resources"), r.Profile("http", "")} {
		if err != nil {
			t.Error(err)
		}
	}
	if r.Profile("http", "interfaces") == nil {
		t.Error("an HTTP check may name a profile")
	}
	for _, c := range []struct{ kind, name, want string }{
		{"snmp", "lab", ""},
		{"http", "lab", ""},
		{"http", "", ""},
		{event.CanaryClass, "", ""},
		{"snmp", "", "need a credential"},
		{"snmp", "labb", `did you mean "lab"?`},
		{"snmp", "other", "those for snmp are lab"},
		{event.CanaryClass, "lab", "need no credential"},
	} {
		err := r.CredentialFor(c.kind, c.name)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %q: got %v, want %s", c.kind, c.name, err, c.want)
		}
	}
	nodes, _ := conf.ParseRaw("t.yaml", []byte("{retries: 0, timeout: 5s}"))
	if spec, problems := r.Spec("snmp", nodes[0]); len(problems) > 0 || string(spec) != `{"timeout":5000000000,"retries":0}` {
		t.Errorf("%s, %v", spec, problems)
	}
	if _, problems := r.Spec("snpm", nodes[0]); len(problems) != 1 || problems[0].String() != `t.yaml:1:1: unknown kind of check "snpm": did you mean "snmp"?` {
		t.Errorf("%v", problems)
	}
	if _, problems := r.Spec(event.CanaryClass, nodes[0]); len(problems) == 0 {
		t.Error("the canary has settings")
	}
	if got := r.Kinds(); len(got) != 2 || got[0] != "http" || got[1] != "snmp" {
		t.Errorf("kinds %v", got)
	}
}

func TestTheUsersProfilesExtendAndReplaceTheShipped(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("rack.yaml", `
extends: interfaces
tables:
  - name: sensors
    labels: [{name: sensor}]
    columns: [{name: temperature, oid: 1.3.6.1.4.1.9.9.13.1.3.1.3, kind: gauge, unit: celsius}]
`)
	write("notes.txt", "no profile")
	r, problems := New(Options{Profiles: dir})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	if err := r.Profile("snmp", "rack"); err != nil {
		t.Error(err)
	}
	for _, p := range r.Profiles() {
		if p.Name == "rack" && (len(p.Tables) != 3 || p.Tables[2].Name != "sensors" || p.Tables[2].Columns[0].Unit != "celsius") {
			t.Errorf("%+v", p)
		}
	}
	if n := len(r.Profiles()); n != len(snmp.Profiles())+1 {
		t.Errorf("%d profiles", n)
	}
}

func TestBadProfilesAreToldWithTheirPlace(t *testing.T) {
	const good = "{name: x, oid: 1.3.6.1, kind: gauge}"
	for text, want := range map[string]string{
		"extends: sytem": `bad.yaml:1:1: profile bad extends "sytem", which does not exist: did you mean "system"?`,
		"extends: bad":   "extends itself",
		"help: nothing":  "the profile reads nothing",
		"scalars: [{name: x, oid: 1.3.6, kind: gauge}]":                                                         "ends in .0",
		"scalars: [{name: x, oid: one, kind: gauge}]":                                                           "bad.yaml:1:26: ",
		"tables: [{name: t, labels: [{name: i}]}]":                                                              "has no columns",
		"tables: [{name: t, labels: [{name: i}], columns: [{name: x, oid: 1.3.6.1, kind: gage}]}]":              `did you mean "gauge"?`,
		"tables: [{name: t, labels: [{name: i}], columns: [{name: x y, oid: 1.3.6.1, kind: gauge}]}]":           "cannot be a name",
		"tables: [{name: t, labels: [{name: i}], columns: [{name: x, kind: gauge}]}]":                           "oid is missing",
		"tables: [{name: t, labels: [{name: i}], columns: [{name: x, oid: 1.3.6.1, kind: counter, scale: 2}]}]": "only gauges are scaled",
		"tables: [{name: t, labels: [{name: i, oid: 1.3.6.2}], columns: [" + good + "]}]":                       "no label carries the index",
		"tables: [{name: t, max_rows: 0, labels: [{name: i}], columns: [" + good + "]}]":                        "max_rows is 0",
		"tables: [{name: t, labels: [{name: i}], columns: [" + good + ", " + good + "]}]":                       "x is read in t and in t",
		"{extends: system, tables: [{name: system, labels: [{name: i}], columns: [" + good + "]}]}":             "the table system is there twice",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "bad.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, problems := New(Options{Profiles: dir})
		if len(problems) != 1 || !strings.Contains(problems[0].String(), want) {
			t.Errorf("%s: got %v, want %s", text, problems, want)
		}
	}
	if _, problems := New(Options{Profiles: filepath.Join(t.TempDir(), "missing")}); len(problems) != 1 {
		t.Errorf("a folder that does not exist: %v", problems)
	}
}
