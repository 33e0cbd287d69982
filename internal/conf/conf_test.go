package conf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type probe struct {
	Pos   Pos
	Kind  string
	Every time.Duration
	Path  string
	Rest  Node `yaml:",inline"`
}

func (p *probe) SetDefaults() { p.Every = time.Minute }

func (p *probe) Validate() []Complaint {
	var out []Complaint
	if p.Kind == "" {
		out = append(out, Complaint{"", "a probe needs a kind", "write kind: http or kind: icmp"})
	}
	if p.Every < time.Second {
		out = append(out, Complaint{"every", "a probe cannot run more than once a second", "write every: 1s or longer"})
	}
	return out
}

type limitsConf struct {
	Low   int8   `yaml:"low"`
	Small uint8  `yaml:"small"`
	Big   uint64 `yaml:"big"`
	Share float64
}

type common struct {
	Name string `yaml:"name"`
	Team string `yaml:"team"`
}

func (c *common) Validate() []Complaint {
	if c.Team == "nobody" {
		return []Complaint{{"team", "nobody is not a team", "name a team"}}
	}
	return nil
}

type server struct {
	Base    common `yaml:",inline"`
	Listen  string `yaml:"listen"`
	Debug   bool
	Keep    time.Duration `yaml:"keep"`
	Token   Secret        `yaml:"token"`
	Limits  limitsConf    `yaml:"limits"`
	Probes  []probe       `yaml:"probes"`
	Labels  map[string]string
	Extra   any
	Plugin  Node
	Nested  *limitsConf
	Matcher choice
	Needs   grumbler
}

// grumbler always complains about itself as a whole.
type grumbler struct{ One int }

func (g *grumbler) Validate() []Complaint { return []Complaint{{"", "never content", "be content"}} }

// choice is either one word or a list of words.
type choice struct{ words []string }

func (c *choice) UnmarshalConf(n Node) Problems {
	switch n.Kind() {
	case Scalar:
		c.words = []string{n.Text()}
		return nil
	case List:
		return n.Into(&c.words)
	default:
		return Problems{n.Problem("expected one word or a list of words", "write a or [a, b]")}
	}
}

func (s *server) Validate() []Complaint {
	if s.Listen == "" {
		return []Complaint{{"listen", "an address to listen on is missing", "write listen: 127.0.0.1:7070"}}
	}
	if s.Limits.Low > int8(min(s.Limits.Small, 100)) {
		return []Complaint{{"limits.low", "low is above small", "write a lower number"}}
	}
	return nil
}

func defaults() server {
	return server{Listen: "127.0.0.1:7070", Limits: limitsConf{Small: 9, Share: 0.5}}
}

// mistakes parses and decodes a document and returns its problems as text.
func mistakes(t *testing.T, text string) string {
	t.Helper()
	nodes, problems := Parse("k.yaml", []byte(text))
	if len(nodes) > 0 {
		c := defaults()
		problems = append(problems, nodes[0].Into(&c)...)
	}
	if err := problems.Err(); err != nil {
		return err.Error()
	}
	return ""
}

func TestEveryMistakeSaysWhereWhatAndWhatToDo(t *testing.T) {
	t.Setenv("KEMI_TEST_WORD", "hunter2")
	for name, c := range map[string]struct{ in, want string }{
		"unknown key with a near one":   {"listne: a", `k.yaml:1:1: unknown key "listne": did you mean "listen"?`},
		"unknown key with none near":    {"limits:\n  zebra: 1", `k.yaml:2:3: unknown key "zebra": the known keys are big, low, share, small`},
		"unknown key in a list":         {"limits: {low: 1, smal: 2}", `k.yaml:1:18: unknown key "smal": did you mean "small"?`},
		"text for a list":               {"probes: all", `k.yaml:1:9: expected a list for "probes", got text "all": write [a, b] or one line "- a" for each entry`},
		"list for text":                 {"listen: [a]", `k.yaml:1:9: expected text for "listen", got a list: write a single value`},
		"nothing for text":              {"listen:", `k.yaml:1:1: expected text for "listen", got nothing: write a value after the colon, or remove the key`},
		"text for a mapping":            {"limits: 3", `k.yaml:1:9: expected a mapping for "limits", got the number 3: write one "key: value" line for each setting`},
		"list for a map":                {"labels: [a]", `k.yaml:1:9: expected a mapping for "labels", got a list: write one "key: value" line for each entry`},
		"list for the whole document":   {"- a", `k.yaml:1:1: expected a mapping, got a list: write one "key: value" line for each setting`},
		"yes for true":                  {"debug: yes", `k.yaml:1:8: expected true or false for "debug", got text "yes": write true or false`},
		"quoted truth":                  {`debug: "true"`, `k.yaml:1:8: expected true or false for "debug", got text "true": write true or false`},
		"text for a whole number":       {"limits: {low: a}", `k.yaml:1:15: expected a whole number for "low", got text "a": write digits only, like 10`},
		"fraction for a whole number":   {"limits: {low: 1.5}", `k.yaml:1:15: expected a whole number for "low", got the number 1.5: write digits only, like 10`},
		"too large":                     {"limits: {low: 128}", `k.yaml:1:15: expected a whole number from -128 to 127 for "low", got the number 128: write a number in this range`},
		"too small":                     {"limits: {small: -1}", `k.yaml:1:17: expected a whole number from 0 to 255 for "small", got the number -1: write a number in this range`},
		"text for a number":             {"limits: {share: half}", `k.yaml:1:17: expected a number for "share", got text "half": write a number, like 10 or 0.5`},
		"duration without a unit":       {"keep: 15", `k.yaml:1:7: expected a duration for "keep", got the number 15: add a unit, like "15s"`},
		"duration with a wrong unit":    {"keep: 15 days", `k.yaml:1:7: expected a duration for "keep", got text "15 days": write it like 500ms, 10s, 5m, 12h or 15d`},
		"mapping for a secret":          {"token: {a: b}", `k.yaml:1:8: expected text for "token", got a mapping: write a single value`},
		"secret file without end":       {"token_file: /dev/zero", `k.yaml:1:13: the secret file /dev/zero: the file is larger than 1 MiB: name a file that holds nothing but the secret`},
		"secret file given as a folder": {"token_file: /", `k.yaml:1:13: the secret file /: the file cannot be read (is a directory): give the path of a readable file`},
		"missing secret file":           {"token_file: /does/not/exist", `k.yaml:1:13: the secret file /does/not/exist: there is no such file: check the path, or create the file`},
		"secret given twice":            {"token: a\ntoken_file: b", `k.yaml:2:1: "token_file" and "token" are both given, the other on line 1: keep one of the two`},
		"secret file is a list":         {"token_file: [a]", `k.yaml:1:13: expected the path of a file for "token_file", got a list: write the path of a file that holds nothing but the secret`},
		"duplicate key":                 {"debug: true\nlisten: a\ndebug: false", `k.yaml:3:1: key "debug" is given twice, first on line 1: keep one of the two`},
		"duplicate key in braces":       {"labels: {a: 1, b: 2,\n  a: 3}", `k.yaml:2:3: key "a" is given twice, first on line 1: keep one of the two`},
		"own decoder":                   {"matcher: {a: b}", `k.yaml:1:10: expected one word or a list of words: write a or [a, b]`},
		"validate, a field":             {"limits: {low: 100}", `k.yaml:1:15: low is above small: write a lower number`},
		"validate, a missing field":     {"debug: true\nlisten: ''", `k.yaml:2:9: an address to listen on is missing: write listen: 127.0.0.1:7070`},
		"validate, a list item":         {"probes:\n  - {kind: http}\n  - {path: /}", `k.yaml:3:5: a probe needs a kind: write kind: http or kind: icmp`},
		"validate, block item":          {"probes:\n  - every: 10ms\n    kind: http", `k.yaml:2:12: a probe cannot run more than once a second: write every: 1s or longer`},
		"validate goes on":              {"probes: [{every: 2s, path: [a]}]", "k.yaml:1:10: a probe needs a kind: write kind: http or kind: icmp\nk.yaml:1:28: expected text for \"path\", got a list: write a single value"},
		"validate after unknown keys":   {"needs: {zebra: 1}\nlisten: x", "k.yaml:1:8: never content: be content\n" + `k.yaml:1:9: unknown key "zebra": the known keys are one`},
		"validate, unset variable":      {"limits: {small: 1, low: \"${KEMI_TEST_UNSET}\"}", `k.yaml:1:25: the environment variable KEMI_TEST_UNSET is not set: set it, or write ${KEMI_TEST_UNSET:-default}`},
		"validate, nested and failed":   {"limits: {low: 50, smal: 1}", "k.yaml:1:15: low is above small: write a lower number\nk.yaml:1:19: unknown key \"smal\": did you mean \"small\"?"},
		"validate, inline":              {"team: nobody", `k.yaml:1:7: nobody is not a team: name a team`},
		"validate keeps quiet":          {"probes: [{kind: http, every: x}]", `k.yaml:1:30: expected a duration for "every", got text "x": write it like 500ms, 10s, 5m, 12h or 15d`},
		"unset variable":                {"debug: ${KEMI_TEST_UNSET}", `k.yaml:1:8: the environment variable KEMI_TEST_UNSET is not set: set it, or write ${KEMI_TEST_UNSET:-default}`},
		"unclosed variable":             {"listen: ${A", `k.yaml:1:9: ${ has no closing }: write ${NAME}, or $$ where a dollar is meant`},
		"variable with a bad name":      {"listen: ${a.b}", `k.yaml:1:9: ${a.b} does not name an environment variable: write ${NAME} or ${NAME:-default}, or $${ where a dollar is meant`},
		"variable of the wrong type":    {"keep: ${KEMI_TEST_WORD}", `k.yaml:1:7: expected a duration for "keep", got the value of "${KEMI_TEST_WORD}": write it like 500ms, 10s, 5m, 12h or 15d`},
		"variable unquoted in braces":   {"limits: {low: ${X}}", `k.yaml:1:16: ',' or '}' must be specified: within { } and [ ], put ${NAME} in quotes`},
		"unknown alias":                 {"name: &word a\nteam: *wrod", `k.yaml:2:7: unknown alias *wrod: did you mean *word?`},
		"merge of a scalar":             {"limits:\n  <<: 3", `k.yaml:2:7: << can only merge mappings: name a mapping, like <<: *base`},
		"tag":                           {"name: !secret a", `k.yaml:1:7: the tag !secret is not supported: remove the tag and write the value itself`},
		"tab":                           {"limits:\n\tlow: 1", `k.yaml:2:1: found character '\t' that cannot start any token: indent with spaces`},
		"open bracket":                  {"probes: [a, b\n", `k.yaml:1:9: sequence end token ']' not found: close the list with ] and separate its entries with commas`},
		"open quote":                    {"name: 'a", `k.yaml:1:7: could not find end character of single-quoted text: close the text with a quote`},
		"colon in text":                 {"name: a: b", `k.yaml:1:7: mapping value is not allowed in this context: put text that holds a colon in quotes, or correct the indentation of the next line`},
		"not UTF-8":                     {"name: a\nteam: \xff", `k.yaml:2:7: this is not UTF-8 text: save the file as UTF-8`},
		"nested too deeply":             {"extra: " + strings.Repeat("[", 300), `k.yaml:1:208: this is nested far too deeply: use fewer levels`},
		"carriage returns and umlauts":  {"# ä\r\nname: ü\r\nlabels: {ö: a, ö: b}\r\n", `k.yaml:3:16: key "ö" is given twice, first on line 3: keep one of the two`},
		"a misspelt key is not missing": {"listen: ''\nlisten2: x", "k.yaml:2:1: unknown key \"listen2\": did you mean \"listen\"?"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, mistakes(t, c.in)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestAllMistakesOfADocumentComeAtOnceAndSorted(t *testing.T) {
	got := mistakes(t, `limits: {low: x, small: 999, bgi: 1}
keep: forever
probes:
  - {every: 1ms, kind: http}
  - {every: soon}
labels: {a: 1, a: 2}
name: ${KEMI_TEST_UNSET}
`)
	want := `k.yaml:1:15: expected a whole number for "low", got text "x": write digits only, like 10
k.yaml:1:25: expected a whole number from 0 to 255 for "small", got the number 999: write a number in this range
k.yaml:1:30: unknown key "bgi": did you mean "big"?
k.yaml:2:7: expected a duration for "keep", got text "forever": write it like 500ms, 10s, 5m, 12h or 15d
k.yaml:4:13: a probe cannot run more than once a second: write every: 1s or longer
k.yaml:5:5: a probe needs a kind: write kind: http or kind: icmp
k.yaml:5:13: expected a duration for "every", got text "soon": write it like 500ms, 10s, 5m, 12h or 15d
k.yaml:6:16: key "a" is given twice, first on line 6: keep one of the two
k.yaml:7:7: the environment variable KEMI_TEST_UNSET is not set: set it, or write ${KEMI_TEST_UNSET:-default}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func decode(t *testing.T, text string) server {
	t.Helper()
	nodes, problems := Parse("k.yaml", []byte(text))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	c := defaults()
	if err := nodes[0].Into(&c).Err(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAbsentKeysKeepTheirDefaultsAlsoInNestedStructs(t *testing.T) {
	c := decode(t, "limits: {low: -3}\nnested:\n  big: 18446744073709551615\nprobes: [{kind: icmp}]\n")
	if want := (limitsConf{Low: -3, Small: 9, Share: 0.5}); c.Limits != want {
		t.Errorf("limits = %+v, want %+v", c.Limits, want)
	}
	if c.Listen != "127.0.0.1:7070" || c.Nested == nil || c.Nested.Big != 1<<64-1 || c.Probes[0].Every != time.Minute {
		t.Errorf("got %+v", c)
	}
	if c := decode(t, ""); c.Listen != "127.0.0.1:7070" {
		t.Errorf("an empty file changed a default: %+v", c)
	}
	if c := decode(t, "limits:\nnested: null\n"); c.Limits.Small != 9 || c.Nested != nil {
		t.Errorf("null: got %+v", c)
	}
}

func TestPositionsAndPlugInNodesAreHandedOn(t *testing.T) {
	c := decode(t, "probes:\n  - kind: http\n    method: GET\n    path: /\n    expect: {status: 200}\nplugin:\n  a: [1, x]\n")
	p := c.Probes[0]
	if want := (Pos{"k.yaml", 2, 5}); p.Pos != want {
		t.Errorf("pos = %v, want %v", p.Pos, want)
	}
	if got := p.Pos.Problem("odd", "mend it").String(); got != "k.yaml:2:5: odd: mend it" {
		t.Error(got)
	}
	var own struct {
		Method string
		Expect struct{ Statsu int }
	}
	got := p.Rest.Into(&own).Error()
	if want := `k.yaml:5:14: unknown key "status": did you mean "statsu"?`; got != want || own.Method != "GET" {
		t.Errorf("got %q and %+v, want %q", got, own, want)
	}
	item := c.Plugin.Get("a").Items()[1]
	if item.Text() != "x" || item.Line() != 7 || item.Column() != 10 || item.File() != "k.yaml" || item.Kind() != Scalar {
		t.Errorf("item at %v: %q", item.Pos(), item.Text())
	}
	if !c.Plugin.Get("b").IsZero() || c.Plugin.Get("b").Get("c").Text() != "" || len(c.Plugin.Keys()) != 1 {
		t.Error("an absent key must give the zero node, whose methods work")
	}
}

func TestAnchorsAliasesAndMergeKeysWork(t *testing.T) {
	c := decode(t, `
limits: &l {low: 1, small: 2}
nested:
  <<: *l
  small: 7
labels: &more
  <<: [{a: 1, b: 1}, {b: 2, c: 2}]
  c: own
extra: *more
`)
	if want := (limitsConf{Low: 1, Small: 7}); *c.Nested != want {
		t.Errorf("nested = %+v, want %+v", *c.Nested, want)
	}
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "1", "c": "own"}, c.Labels); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(any(map[string]any{"a": 1, "b": 1, "c": "own"}), c.Extra); diff != "" {
		t.Error(diff)
	}
}

func TestAliasesOfAliasesCannotExhaustMemory(t *testing.T) {
	text := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 12 {
		a, b := string(rune('a'+i)), string(rune('b'+i))
		text += b + "0: &" + b + "0 [" + strings.TrimSuffix(strings.Repeat("*"+a+"0, ", 10), ", ") + "]\n"
	}
	_, problems := Parse("k.yaml", []byte(text))
	if len(problems) == 0 || problems[0].String() != "k.yaml:8:9: aliases make this far too large: write out the few values that are needed" {
		t.Errorf("got %v", problems)
	}
}

func TestJSONIsReadLikeYAML(t *testing.T) {
	c := decode(t, "{\n\t\"name\": \"\\u00e9\\ud83d\\ude00\\/\\n\",\n\t\"limits\": {\"low\": 0.7e1, \"share\": 25e-2},\n\t\"matcher\": [\"a\",\n\t\t\"b\"],\n\t\"extra\": [null, true, 1, 1.5, \"1\"], \"keep\": \"1w\"\n}\n")
	if c.Base.Name != "é😀/\n" || c.Limits.Low != 7 || c.Limits.Share != 0.25 || c.Keep != 7*24*time.Hour {
		t.Errorf("got %+v", c)
	}
	if diff := cmp.Diff(any([]any{nil, true, 1, 1.5, "1"}), c.Extra); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "b"}, c.Matcher.words); diff != "" {
		t.Error(diff)
	}
	if got := mistakes(t, "{\n\t\"debug\": 1\n}"); got != `k.yaml:2:11: expected true or false for "debug", got the number 1: write true or false` {
		t.Error(got)
	}
}

func TestTextKeepsTheSpellingOfNumbers(t *testing.T) {
	c := decode(t, "name: 1.10\nteam: 007\nlabels: {a: true, b: 0x1F, c: 1_0, 10: ten}\n")
	if c.Base.Name != "1.10" || c.Base.Team != "007" {
		t.Errorf("got %+v", c.Base)
	}
	if diff := cmp.Diff(map[string]string{"a": "true", "b": "0x1F", "c": "1_0", "10": "ten"}, c.Labels); diff != "" {
		t.Error(diff)
	}
}

func TestLoadExplainsFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "k.yaml")
	if _, problems := Load(path); problems.Err().Error() != path+": there is no such file: check the path, or create the file" {
		t.Error(problems)
	}
	if _, problems := Load(dir); problems.Err().Error() != dir+": the file cannot be read (is a directory): give the path of a readable file" {
		t.Error(problems)
	}
	write(t, path, "a: 1\n---\nb: 2\n---\n")
	n, problems := Load(path)
	if n.Get("a").Text() != "1" || problems.Error() != path+":3:1: a second document would be ignored: remove the --- line before it or move it to a file of its own" {
		t.Error(problems)
	}
	nodes, problems := ParseRaw(path, []byte("a: 1\n---\nb: 2\n"))
	if len(nodes) != 2 || nodes[1].Line() != 3 || len(problems) != 0 {
		t.Errorf("got %v and %v", nodes, problems)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
