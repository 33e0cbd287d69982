package cmdb_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmdb"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/scheduler/cron"
)

// write makes files in a fresh directory and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		save(t, filepath.Join(dir, name), content)
	}
	return dir
}

func save(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// nodes reads the list of sources as it stands in kemi.yaml.
func nodes(t *testing.T, text string) []conf.Node {
	t.Helper()
	docs, problems := conf.Parse("kemi.yaml", []byte(text))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return docs[0].Items()
}

// options are those of a site with an SNMP and an HTTP poller.
func options(t *testing.T, dir, sources string) cmdb.Options {
	return cmdb.Options{
		Sources: nodes(t, sources), Dir: dir, Kinds: []string{"snmp", "http"},
		Credentials: []string{"lab", "prod"}, Teams: []string{"network", "default"}, Zones: []string{"default", "dmz"},
		Cron: cron.Check,
		Profile: func(kind, name string) error {
			if kind != "snmp" || name != "interfaces" {
				return errors.New("there is no profile " + name + " for " + kind)
			}
			return nil
		},
		Spec: func(kind string, n conf.Node) (json.RawMessage, conf.Problems) {
			var http struct {
				Path   string         `json:"path"`
				Expect map[string]int `json:"expect,omitempty"`
			}
			if kind != "http" {
				return nil, n.Into(&struct{}{})
			}
			problems := n.Into(&http)
			data, err := json.Marshal(http)
			if err != nil {
				t.Fatal(err)
			}
			return data, problems
		},
	}
}

func check(t *testing.T, dir, sources string) ([]event.Target, conf.Problems) {
	t.Helper()
	r, problems := cmdb.New(options(t, dir, sources))
	if len(problems) > 0 {
		return nil, problems
	}
	return r.Check(t.Context())
}

const allFiles = "- file: {path: targets/*.yaml}"

func TestTheExampleOfTheDesign(t *testing.T) {
	dir := write(t, map[string]string{"targets/dc1.yaml": `
classes:
  switch: {checks: [{kind: snmp, every: 10s, profile: interfaces, credential: lab}], labels: {tier: net, rack: none}, team: network}
  web:    {checks: [{kind: http, every: 30s, path: /health, expect: {status: 200}}]}
  server:
targets:
  - {id: core-1, class: switch, address: "127.1.0.1:1161", labels: {site: dc1, rack: core}}
  - {id: core-2, class: switch, address: "127.1.0.3:1161", team: default, lifecycle: retired, checks: []}
  - {id: tor-1,  class: switch, address: "127.1.0.2:1161", relations: {connected_to: {any_of: [core-1, core-2]}, powered_by: srv-1}}
  - {id: srv-1, class: server, address: srv-1.example, labels: {zone: dmz}, lifecycle: maintenance}
  - id: shop
    class: web
    address: "http://127.0.0.1:8080"
    relations: {runs_on: [srv-1], depends_on: [tor-1, {any_of: [core-1, core-2]}]}
    checks: [{name: night, kind: http, cron: "CRON_TZ=Europe/Berlin 30 2 * * *", path: /}, {kind: snmp}]
`})
	got, problems := check(t, dir, allFiles)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	file := "file:" + filepath.Join(dir, "targets/dc1.yaml")
	snmp := []event.Check{{Name: "snmp", Kind: "snmp", Every: 10 * time.Second, Profile: "interfaces", Credential: "lab"}}
	want := []event.Target{
		{
			ID: "core-1", Class: "switch", Address: "127.1.0.1:1161", Team: "network", Lifecycle: event.Active, Checks: snmp,
			Labels: map[string]string{"site": "dc1", "rack": "core", "tier": "net"}, Source: file + ":7",
		},
		{
			ID: "core-2", Class: "switch", Address: "127.1.0.3:1161", Team: "default", Lifecycle: event.Retired, Checks: []event.Check{},
			Labels: map[string]string{"rack": "none", "tier": "net"}, Source: file + ":8",
		},
		{
			ID: "shop", Class: "web", Address: "http://127.0.0.1:8080", Team: "default", Lifecycle: event.Active,
			Checks: []event.Check{
				{Name: "night", Kind: "http", Cron: "CRON_TZ=Europe/Berlin 30 2 * * *", Spec: json.RawMessage(`{"path":"/"}`)},
				{Name: "snmp", Kind: "snmp", Every: time.Minute},
			},
			Relations: map[string][]event.Need{"runs_on": {{"srv-1"}}, "depends_on": {{"tor-1"}, {"core-1", "core-2"}}}, Source: file + ":11",
		},
		{
			ID: "srv-1", Class: "server", Address: "srv-1.example", Team: "default", Lifecycle: event.Maintenance, Checks: []event.Check{},
			Labels: map[string]string{"zone": "dmz"}, Source: file + ":10",
		},
		{
			ID: "tor-1", Class: "switch", Address: "127.1.0.2:1161", Team: "network", Lifecycle: event.Active, Checks: snmp,
			Labels:    map[string]string{"rack": "none", "tier": "net"},
			Relations: map[string][]event.Need{"connected_to": {{"core-1", "core-2"}}, "powered_by": {{"srv-1"}}}, Source: file + ":9",
		},
	}
	for i := range want {
		want[i].Version = want[i].ComputeVersion()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Each mistake has its place and its advice. The %s of want is the directory.
func TestEveryMistakeIsToldWithItsPlace(t *testing.T) {
	const classes = "classes: {switch: {checks: [{kind: snmp}]}, web: }\n"
	for _, c := range []struct{ name, file, want string }{
		{
			"unknown key", classes + "targets: [{id: a, class: web, address: a, adress: b}]",
			`2:43: unknown key "adress": did you mean "address"?`,
		},
		{
			"wrong type", classes + "targets: [{id: [a], class: web, address: a}]",
			`2:16: expected text, got a list: write a single value, or remove the key|2:11: the target has no id: add id: with a name that no other target has`,
		},
		{
			"duplicate id", classes + "targets:\n- {id: a, class: web, address: a}\n- {id: a, class: web, address: b}",
			`3:8: the target "a" is there twice, again at %s:4:8: give one of them another id, or remove it|4:8: the target "a" is there twice, first at %s:3:8: give one of them another id, or remove it`,
		},
		{
			"address", classes + `targets: [{id: a, class: web, address: "10.0.0.256"}]`,
			`2:40: the address "10.0.0.256" does not parse: "10.0.0.256" is not an IP address: write a host name`,
		},
		{
			"relation to nothing", classes + "targets: [{id: core-1, class: web, address: a}, {id: b, class: web, address: b, relations: {connected_to: [core-l]}}]",
			`2:108: connected_to of "b" names "core-l", which is not there: did you mean "core-1"?`,
		},
		{
			"unknown kind of relation", classes + "targets: [{id: a, class: web, address: a, relations: {runs_in: [b]}}]",
			`2:55: unknown key "runs_in": did you mean "runs_on"?`,
		},
		{
			"cycle", classes + "targets:\n- {id: a, class: web, address: a, relations: {runs_on: b}}\n- {id: b, class: web, address: b, relations: {powered_by: {any_of: [c]}}}\n- {id: c, class: web, address: b, relations: {depends_on: [b]}}",
			`5:60: the relations go round in a circle: b powered_by c depends_on b: let each relation point`,
		},
		{
			"itself", classes + "targets: [{id: a, class: web, address: a, relations: {runs_on: a}}]",
			`2:64: the relations go round in a circle: a runs_on a: let each`,
		},
		{
			"empty any_of", classes + "targets: [{id: a, class: web, address: a, relations: {runs_on: {any_of: []}}}]",
			`2:64: any_of names no target: write an id`,
		},
		{
			"unknown class", classes + "targets: [{id: a, class: swich, address: a}]",
			`2:26: there is no class "swich": did you mean "switch"?`,
		},
		{
			"no class known", classes + "targets: [{id: a, class: router, address: a}]",
			`2:26: there is no class "router": add it under classes, if only as router: {}`,
		},
		{
			"unknown kind", "classes: {web: {checks: [{kind: htp}]}}\ntargets: []",
			`1:33: there is no kind of check "htp": did you mean "http"?`,
		},
		{
			"no kind", "classes: {web: {checks: [{every: 10s}]}}\ntargets: []",
			`1:26: the check has no kind: use one of http, snmp, or add it to the configuration`,
		},
		{
			"unknown credential", "classes: {web: {checks: [{kind: snmp, credential: labb}]}}\ntargets: []",
			`1:51: there is no credential "labb": did you mean "lab"?`,
		},
		{
			"unknown profile", "classes: {web: {checks: [{kind: snmp, profile: ups}]}}\ntargets: []",
			`1:48: there is no profile ups for snmp: correct the name of the profile`,
		},
		{
			"unknown team", classes + "targets: [{id: a, class: web, address: a, team: netwrk}]",
			`2:49: there is no team "netwrk": did you mean "network"?`,
		},
		{
			"unknown zone", classes + "targets: [{id: a, class: web, address: a, labels: {zone: moon}}]",
			`2:58: there is no zone "moon": use one of default, dmz, or add it to the configuration`,
		},
		{
			"unknown lifecycle", classes + "targets: [{id: a, class: web, address: a, lifecycle: retird}]",
			`2:54: there is no lifecycle "retird": did you mean "retired"?`,
		},
		{
			"lifecycle near no other", classes + "targets: [{id: a, class: web, address: a, lifecycle: soon}]",
			`2:54: there is no lifecycle "soon": write active, maintenance (polled, and pages are held back) or retired (not polled)`,
		},
		{
			"cron", `classes: {web: {checks: [{kind: snmp, cron: "0 25 * * *"}]}}` + "\ntargets: []",
			`1:45: the cron expression "0 25 * * *" does not parse: end of range (25) above maximum (23)`,
		},
		{
			"cron never", `classes: {web: {checks: [{kind: snmp, cron: "0 0 30 2 *"}]}}` + "\ntargets: []",
			`1:45: the cron expression "0 0 30 2 *" does not parse: it is never due`,
		},
		{
			"cron and every", `classes: {web: {checks: [{kind: snmp, every: 10s, cron: "* * * * *"}]}}` + "\ntargets: []",
			`1:57: every and cron are both given: keep one of the two`,
		},
		{
			"too often", "classes: {web: {checks: [{kind: snmp, every: 500ms}]}}\ntargets: []",
			`1:46: every is 500ms, less than a second: write 1s or more`,
		},
		{
			"no unit", "classes: {web: {checks: [{kind: snmp, every: 10}]}}\ntargets: []",
			`1:46: expected a duration, got the number 10: add a unit, like "10s"`,
		},
		{
			"setting of the kind", "classes: {web: {checks: [{kind: http, pth: /}]}}\ntargets: []",
			`1:39: unknown key "pth": did you mean "path"?`,
		},
		{
			"setting of all kinds", "classes: {web: {checks: [{kind: http, evry: 10s}]}}\ntargets: []",
			`1:39: unknown key "evry": did you mean "every"?`,
		},
		{
			"two checks of a name", "classes: {web: {checks: [{kind: http}, {kind: http}]}}\ntargets: []",
			`1:40: a second check has the name "http", the first is on line 1: give one of them`,
		},
		{
			"label of ours", classes + "targets: [{id: a, class: web, address: a, labels: {team: x}}]",
			`2:58: the label "team" is set by Kemi itself`,
		},
		{
			"label", classes + `targets: [{id: a, class: web, address: a, labels: {"a-b": x}}]`,
			`2:59: "a-b" is not a label name`,
		},
		{
			"id", classes + `targets: [{id: "a b", class: web, address: a}]`,
			`2:16: "a b" cannot be the name of a target: it contains ' '`,
		},
		{
			"our id", classes + `targets: [{id: kemi-canary, class: web, address: a}]`,
			`2:16: "kemi-canary" cannot be the name of a target: Kemi's own canary has it`,
		},
		{
			"nothing but a name", classes + `targets: [{id: a}]`,
			`2:16: the target "a" has no address|2:16: the target "a" has no class`,
		},
		{"empty", "# nothing\n", `1:1: the file has no targets: add targets, write targets: [] if there are none, or remove the file`},
		{"cut off", "targets:\n", `1:1: the file has no targets`},
		{"syntax", "targets: [{id: a", `1:11: `},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := write(t, map[string]string{"targets/a.yaml": c.file})
			_, problems := check(t, dir, allFiles)
			file := filepath.Join(dir, "targets/a.yaml")
			lines := strings.Split(problems.Error(), "\n")
			wants := strings.Split(strings.ReplaceAll(c.want, "%s", file), "|")
			if len(lines) != len(wants) {
				t.Errorf("%d problems, want %d:\n%s", len(lines), len(wants), problems.Error())
			}
			for _, want := range wants {
				if !strings.Contains("\n"+problems.Error(), "\n"+file+":"+want) {
					t.Errorf("got  %s\nwant %s:%s", problems.Error(), file, want)
				}
			}
		})
	}
}

func TestMistakesBetweenFilesAndSources(t *testing.T) {
	dir := write(t, map[string]string{
		"targets/a.yaml":  "classes: {web: }\ntargets: [{id: a, class: web, address: a, relations: {runs_on: far}}]",
		"targets/b.yaml":  "classes: {web: }\ntargets: [{id: b, class: web, address: a}]",
		"targets/c.yaml":  "targets: [{id: c, class: web, address: a, relations: {runs_on: a}}]",
		"other/more.json": `{"classes": {"web": null}, "targets": [{"id": "far", "class": "web", "address": "a"}, {"id": "b", "class": "web", "address": "b"}]}`,
	})
	_, problems := check(t, dir, allFiles+"\n- file: {path: other}")
	a, b, more := filepath.Join(dir, "targets/a.yaml"), filepath.Join(dir, "targets/b.yaml"), filepath.Join(dir, "other/more.json")
	want := strings.Join([]string{
		more + `:1:94: the target "b" is there twice, first at ` + b + `:2:16: give one of them another id, or remove it`,
		a + `:1:11: the class "web" is described twice, again at ` + b + `:1:11: keep one of the two`,
		b + `:1:11: the class "web" is described twice, first at ` + a + `:1:11: keep one of the two`,
		b + `:2:16: the target "b" is there twice, again at ` + more + `:1:94: give one of them another id, or remove it`,
	}, "\n")
	if diff := cmp.Diff(want, problems.Error()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A mistake that is met more than once, through an alias or in two sources, is one problem.
func TestAMistakeIsToldOnceForItsPlace(t *testing.T) {
	dir := write(t, map[string]string{"targets/a.yaml": `
classes: {web: {checks: &c [{kind: snmp}]}, vm: {checks: *c}}
targets:
- {id: a, class: web, address: a}
- {id: b, class: web, address: a, checks: *c}
- {id: c, class: vm, address: a}
`})
	o := options(t, dir, allFiles+"\n- file: {path: targets}")
	o.Credential = func(string, string) error { return errors.New("a credential is needed") }
	r, problems := cmdb.New(o)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	_, problems = r.Check(t.Context())
	at := filepath.Join(dir, "targets/a.yaml")
	want := conf.Problems{{File: at, Line: 2, Column: 29, What: "a credential is needed", Do: "see credentials: in the configuration"}}
	for i, id := range []string{"a", "b", "c"} {
		want = append(want, conf.Problem{
			File: at, Line: 4 + i, Column: 8, What: "the target \"" + id + "\" is read by two sources, file:targets/*.yaml and file:targets",
			Do: "let only one of them read this file",
		})
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	// An alias may repeat a target as well.
	dir = write(t, map[string]string{"targets/a.yaml": "classes: {web: {checks: &c [{kind: htp}]}, vm: {checks: *c}}\ntargets: [&t {id: a, class: web, address: a}, *t]"})
	_, problems = check(t, dir, allFiles)
	at = filepath.Join(dir, "targets/a.yaml")
	want = conf.Problems{
		{File: at, Line: 1, Column: 36, What: `there is no kind of check "htp"`, Do: `did you mean "http"?`},
		{File: at, Line: 2, Column: 19, What: `the target "a" is there twice, the second time by an alias`, Do: "remove the alias"},
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAFileThatCannotBeReadMakesNoRelationsWrong(t *testing.T) {
	dir := write(t, map[string]string{
		"targets/a.yaml": "classes: {web: }\ntargets: [{id: a, class: web, address: a, relations: {runs_on: far}}]",
		"far.yaml":       "targets: [{id: far",
	})
	_, problems := check(t, dir, allFiles+"\n- file: {path: far.yaml}")
	if len(problems) != 1 || !strings.Contains(problems.Error(), "far.yaml:1:") {
		t.Errorf("got %s, want the one mistake in far.yaml", problems.Error())
	}
}

func TestMistakesInTheListOfSources(t *testing.T) {
	dir := write(t, map[string]string{"empty/readme.txt": "", "a.yaml": "targets: []"})
	for sources, want := range map[string]string{
		"- fil: {path: x}":          `kemi.yaml:1:3: there is no kind of source "fil": did you mean "file"?`,
		"- file: {pth: x}":          `kemi.yaml:1:10: unknown key "pth": did you mean "path"?`,
		"- file: {}":                `kemi.yaml:1:9: the file source has no path: name a file`,
		"- file: {path: 'a[.yaml'}": `kemi.yaml:1:16: "a[.yaml" is not a glob`,
		"- a.yaml":                  `kemi.yaml:1:3: expected one kind of source with its settings, got a value`,
		"- file: {path: a.yaml}\n- file: {path: a.yaml}":         `kemi.yaml:2:3: the source file:a.yaml is named twice, first on line 1`,
		"- file: {path: missing.yaml}":                           `kemi.yaml:1:16: the targets in ` + dir + `/missing.yaml cannot be found: no such file or directory`,
		"- file: {path: nothing/*.yaml}":                         `kemi.yaml:1:16: the targets in ` + dir + `/nothing/*.yaml cannot be found: no file matches`,
		"- file: {path: empty}":                                  `kemi.yaml:1:16: the targets in ` + dir + `/empty cannot be found: the directory has no .yaml, .yml or .json file`,
		"- file: {path: missing.yaml}\n- file: {path: ./a.yaml}": `kemi.yaml:1:16: the targets in ` + dir + `/missing.yaml cannot be found`,
	} {
		_, problems := check(t, dir, sources)
		if len(problems) != 1 || !strings.HasPrefix(problems.Error(), want) {
			t.Errorf("%s\ngot  %s\nwant %s", sources, problems.Error(), want)
		}
	}
}
