package simulate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseScriptReadsStepsInTheOrderOfTheirTimes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "story.yaml")
	text := `# a core switch fails
- {at: 50s, device: core-1, fault: clear}
- {at: 20s, device: core-1, fault: down}
- at: 1m
  class: vm
  fault: slow 2s
- {at: 60s, device: "tor-*", fault: "lossy 10%"}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := LoadScript(path)
	if err != nil {
		t.Fatal(err)
	}
	want := Script{
		{20 * time.Second, "core-1", Fault{Kind: Down}},
		{50 * time.Second, "core-1", Fault{Kind: Clear}},
		{time.Minute, "class:vm", Fault{Kind: Slow, Duration: 2 * time.Second}},
		{time.Minute, "tor-*", Fault{Kind: Lossy, Percent: 10}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s, err := ParseScript("empty.yaml", nil); err != nil || len(s) != 0 {
		t.Errorf("an empty script: %v, %v", s, err)
	}
	if _, err := LoadScript(path + "x"); err == nil {
		t.Error("a missing file is no error")
	}
}

func TestParseScriptTellsEveryMistakeWithItsPlace(t *testing.T) {
	t.Parallel()
	_, err := ParseScript("story.yaml", []byte(`- {at: 20s, devise: core-1, fault: down}
- {at: soon, device: core-1, fault: down}
- {at: 20s, fault: down}
- {at: 20s, device: a, class: vm, fault: down}
- {at: 20s, class: vn, fault: down}
- {at: 20s, device: a, fault: dwon}
- {at: 20s, device: a}
- {at: -1s, device: a, fault: down}
`))
	if err == nil {
		t.Fatal("no mistake is found")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, want := range []string{
		`device`, `at`, "names no device", "both a device and a class", "unknown device class", `did you mean "down"`, "empty fault", "before the start",
	} {
		place := "story.yaml:" + string(rune('1'+i)) + ":"
		found := false
		for _, l := range lines {
			found = found || strings.HasPrefix(l, place) && strings.Contains(l, want)
		}
		if !found {
			t.Errorf("nothing at %s says %q in\n%s", place, want, err)
		}
	}
	for _, text := range []string{"at: 20s", "just text", "- 5", "- {at: 1s"} {
		if s, err := ParseScript("x.yaml", []byte(text)); err == nil {
			t.Errorf("%q is read as %v", text, s)
		}
	}
}

func TestTheScriptIsPlayedFromTheMomentTheFleetIsReady(t *testing.T) {
	t.Parallel()
	script, err := ParseScript("s", []byte(`
- {at: 0s, device: switch-1, fault: down}
- {at: 150ms, device: "switch-*", fault: garbage}
- {at: 300ms, device: switch-1, fault: clear}
`))
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, Config{Listen: testListen(t), Devices: uniform(t, 2, Switch, 2), Script: script})
	began := time.Now()
	is := func(state string, faults ...string) func() bool {
		return func() bool {
			v, _ := f.View("switch-1")
			return v.State == state && strings.Join(v.Faults, " ") == strings.Join(faults, " ")
		}
	}
	eventually(t, "the first step", is("down", "down"))
	eventually(t, "the second step", is("down", "down", "garbage"))
	eventually(t, "the third step", is("up"))
	if took := time.Since(began); took < 250*time.Millisecond || took > 3*time.Second {
		t.Errorf("the script took %s", took)
	}
	if v, _ := f.View("switch-2"); len(v.Faults) != 1 {
		t.Errorf("switch-2 is %+v", v)
	}
}
