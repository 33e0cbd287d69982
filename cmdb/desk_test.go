package cmdb

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmdb/source"
	"kemi.dev/kemi/internal/conf"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// finds makes targets out of "id" or "id>needed" or "id=address".
func finds(specs ...string) []source.Found {
	var out []source.Found
	for i, spec := range specs {
		t := &event.Target{Class: "web", Address: "a", Team: "default", Lifecycle: event.Active}
		spec, needed, related := strings.Cut(spec, ">")
		id, address, has := strings.Cut(spec, "=")
		if t.ID = id; has {
			t.Address = address
		}
		if related {
			t.Relations = map[string][]event.Need{event.RunsOn: {{needed}}}
		}
		f := source.Found{Target: t, At: conf.Pos{File: "f", Line: i + 1, Column: 1}, Refs: source.RefsOf(t)}
		for k := range f.Refs {
			f.Refs[k].At = conf.Pos{File: "f", Line: i + 1, Column: 5}
		}
		out = append(out, f)
	}
	return out
}

func numbered(from, to int) (ids []string) {
	for i := from; i < to; i++ {
		ids = append(ids, fmt.Sprintf("t%03d", i))
	}
	return ids
}

// act settles and does what was decided, as the door does. It returns the ids published and removed, without the canary.
func act(d *desk, now time.Time) (published, removed []string) {
	out := d.settle(now)
	d.stored(out.publish)
	d.removed(out.remove)
	for _, t := range out.publish {
		if t.ID != event.CanaryTarget {
			published = append(published, t.ID)
		}
	}
	for _, t := range out.remove {
		removed = append(removed, t.ID)
	}
	return published, removed
}

func expect(t *testing.T, d *desk, now time.Time, published, removed string) {
	t.Helper()
	p, r := act(d, now)
	if got := strings.Join(p, " "); got != published {
		t.Errorf("published %q, want %q", got, published)
	}
	if got := strings.Join(r, " "); got != removed {
		t.Errorf("removed %q, want %q", got, removed)
	}
}

func (d *desk) state(name string) State { return d.feed(name, noon).status.State }

func TestOnlyDifferencesArePublished(t *testing.T) {
	d := newDesk([]string{"A"}, 10*time.Second, noon)
	out := d.settle(noon)
	if len(out.publish) != 1 || out.publish[0].ID != event.CanaryTarget || out.publish[0].Checks[0].Every != 10*time.Second {
		t.Fatalf("published %v at first, want the canary", out.publish)
	}
	d.stored(out.publish)
	a := d.feed("A", noon)
	a.answer(finds("x", "y", "z"), nil)
	expect(t, d, noon, "x y z", "")
	a.answer(finds("x", "y=elsewhere", "w"), nil)
	expect(t, d, noon.Add(time.Minute), "w y", "z")
	if y := d.running["y"]; !y.Updated.Equal(noon.Add(time.Minute)) || y.Origin != "A" || y.Version != y.ComputeVersion() {
		t.Errorf("y is %+v", y)
	}
	if x := d.running["x"]; !x.Updated.Equal(noon) {
		t.Errorf("x did not change but is of %s", x.Updated)
	}
	a.answer(finds("x", "y=elsewhere", "w"), nil)
	expect(t, d, noon.Add(time.Hour), "", "")
}

func TestABackAndForthIsThreeDifferentFacts(t *testing.T) {
	d := newDesk([]string{"A"}, 10*time.Second, noon)
	seen := map[string]bool{}
	for _, address := range []string{"a", "b", "a"} { // at one instant, as far as the clock tells
		d.feed("A", noon).answer(finds("x="+address), nil)
		out := d.settle(noon)
		for _, one := range out.publish {
			if seen[one.Identity()] {
				t.Errorf("%s was published under an identity that was there before", one.ID)
			}
			seen[one.Identity()] = true
		}
		d.stored(out.publish)
	}
}

func TestContentWithAMistakeLeavesWhatRuns(t *testing.T) {
	d := newDesk([]string{"A", "B"}, 10*time.Second, noon)
	a, b := d.feed("A", noon), d.feed("B", noon)
	a.answer(finds("x", "y"), nil)
	b.answer(finds("v>x"), nil)
	expect(t, d, noon, "v x y", "")

	a.answer(finds("y"), conf.Problems{{File: "f", What: "bad"}})
	expect(t, d, noon, "", "")
	if d.state("A") != StateInvalid || d.state("B") != StateOK {
		t.Errorf("A is %s, B is %s", d.state("A"), d.state("B"))
	}
	// A relation that loses its other end is the problem of the change, though it stands in the other source.
	a.answer(finds("y"), nil)
	expect(t, d, noon, "", "")
	if s := a.status; s.State != StateInvalid || !strings.Contains(s.Message, `runs_on of "v" names "x"`) {
		t.Errorf("A is %+v", s)
	}
	// It goes through when the other follows.
	b.answer(finds("v>y"), nil)
	expect(t, d, noon, "v", "x")
	if d.state("A") != StateOK || d.state("B") != StateOK {
		t.Errorf("A is %s, B is %s", d.state("A"), d.state("B"))
	}
	// A second owner of an id is refused, a move is not.
	b.answer(finds("v>y", "y"), nil)
	expect(t, d, noon, "", "")
	if d.state("B") != StateInvalid || d.state("A") != StateOK {
		t.Errorf("A is %s, B is %s", d.state("A"), d.state("B"))
	}
	a.answer(finds("q"), nil)
	expect(t, d, noon, "q y", "")
	if d.running["y"].Origin != "B" || d.state("B") != StateOK {
		t.Errorf("y is %s's, B is %s", d.running["y"].Origin, d.state("B"))
	}
}

func TestASourceWithAMistakeDoesNotKeepItsTargetsFromMoving(t *testing.T) {
	d := newDesk([]string{"A", "B"}, 10*time.Second, noon)
	a, b := d.feed("A", noon), d.feed("B", noon)
	a.answer(finds("x", "y"), nil)
	b.answer(finds("v"), nil)
	act(d, noon)
	a.answer(nil, conf.Problems{{What: "bad"}})
	b.answer(finds("v", "x"), nil)
	expect(t, d, noon, "x", "")
	if d.running["x"].Origin != "B" || d.state("B") != StateOK || a.status.Targets != 1 {
		t.Errorf("x is %s's, B is %s, A has %d targets", d.running["x"].Origin, d.state("B"), a.status.Targets)
	}
}

func TestTheStateIsTheReasonOfNow(t *testing.T) {
	d := newDesk([]string{"A", "B"}, 10*time.Second, noon)
	a, b := d.feed("A", noon), d.feed("B", noon)
	a.answer(finds(numbered(0, 10)...), nil)
	b.answer(finds("v>t000"), nil)
	act(d, noon)
	a.answer(finds("t009"), nil)
	expect(t, d, noon, "", "")
	if d.state("A") != StateInvalid {
		t.Errorf("A is %s", d.state("A"))
	}
	b.answer(finds("v"), nil)
	expect(t, d, noon, "v", "")
	if s := a.status; s.State != StateHeld || s.Problems != nil {
		t.Errorf("A is %+v, want held and nothing else", s)
	}
}

func TestWhatIsSuspicious(t *testing.T) {
	for _, c := range []struct {
		lost, had, has int
		want           bool
	}{
		{0, 0, 0, false},
		{1, 1, 1, false},
		{1, 1, 0, true},
		{2, 3, 1, false},
		{3, 4, 1, true},
		{2, 2, 0, true},
		{20, 100, 80, false},
		{21, 100, 79, true},
		{21, 100, 200, true},
		{0, 100, 100, false},
	} {
		if got := suspicious(c.lost, c.had, c.has); got != c.want {
			t.Errorf("lost %d of %d, has %d: %v", c.lost, c.had, c.has, got)
		}
	}
}

func TestASourceThatShrinksIsHeldUntilPeopleAgree(t *testing.T) {
	d := newDesk([]string{"A"}, 10*time.Second, noon)
	a := d.feed("A", noon)
	a.answer(finds(numbered(0, 100)...), nil)
	act(d, noon)
	if err := d.accept("A", "", noon); err == nil {
		t.Error("a shrink that was not there was accepted")
	}
	a.answer(finds(append(numbered(0, 70), "new")...), nil)
	expect(t, d, noon.Add(time.Minute), "", "")
	s := a.status
	if s.State != StateHeld || len(s.Lost) != 30 || !strings.Contains(s.Message, "lost 30 of its 100 targets at once (t070, t071, t072, …)") {
		t.Fatalf("status %+v", s)
	}
	// They come back, all but a few.
	a.answer(finds(numbered(0, 90)...), nil)
	if _, removed := act(d, noon.Add(2*time.Minute)); len(removed) != 10 || d.state("A") != StateOK {
		t.Fatalf("removed %v, state %s", removed, d.state("A"))
	}
	// What was said about the first loss does not count for the second.
	a.answer(finds(numbered(0, 10)...), nil)
	expect(t, d, noon.Add(3*time.Minute), "", "")
	if err := d.accept("A", s.Shrink, noon.Add(4*time.Minute)); err == nil {
		t.Error("the token of another loss was accepted")
	}
	if err := d.accept("A", "", noon.Add(2*time.Minute)); err == nil {
		t.Error("a word from before the loss was accepted")
	}
	if err := d.accept("B", "", noon.Add(4*time.Minute)); err == nil {
		t.Error("a word about no source was accepted")
	}
	expect(t, d, noon.Add(4*time.Minute), "", "")
	// Nor does agreement count when the loss grows before it is carried out.
	if err := d.accept("A", a.status.Shrink, noon.Add(4*time.Minute)); err != nil {
		t.Fatal(err)
	}
	a.answer(finds(numbered(0, 5)...), nil)
	expect(t, d, noon.Add(5*time.Minute), "", "")
	if err := d.accept("A", "", noon.Add(6*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, removed := act(d, noon.Add(6*time.Minute)); len(removed) != 85 || d.state("A") != StateOK {
		t.Errorf("removed %d, state %s", len(removed), d.state("A"))
	}
	a.answer(nil, nil)
	expect(t, d, noon.Add(7*time.Minute), "", "")
	if d.state("A") != StateHeld {
		t.Errorf("an emptied source is %s", d.state("A"))
	}
}

func TestTargetsOfAHeldSourceMayMove(t *testing.T) {
	d := newDesk([]string{"A", "B"}, 10*time.Second, noon)
	a, b := d.feed("A", noon), d.feed("B", noon)
	a.answer(finds(numbered(0, 10)...), nil)
	b.answer(finds("b"), nil)
	act(d, noon)
	a.answer(finds(numbered(0, 2)...), nil)
	b.answer(finds(append(numbered(2, 6), "b")...), nil)
	published, removed := act(d, noon)
	if got := strings.Join(published, " "); got != "t002 t003 t004 t005" || removed != nil || d.state("A") != StateHeld || d.state("B") != StateOK {
		t.Errorf("published %s, removed %v, A %s, B %s", got, removed, d.state("A"), d.state("B"))
	}
	if len(a.status.Lost) != 4 {
		t.Errorf("lost %v, want the four that nobody has", a.status.Lost)
	}
}

func TestARestartPublishesDifferencesOnly(t *testing.T) {
	before := newDesk([]string{"A", "old"}, 10*time.Second, noon)
	before.feed("A", noon).answer(finds(numbered(0, 50)...), nil)
	before.feed("old", noon).answer(finds("moved", "m2>t003"), nil)
	act(before, noon)
	var bus []*event.Target
	for _, id := range slices.Sorted(maps.Keys(before.running)) {
		data, err := before.running[id].Encode()
		if err != nil {
			t.Fatal(err)
		}
		one := new(event.Target)
		if err := one.Decode(data); err != nil {
			t.Fatal(err)
		}
		bus = append(bus, one)
	}
	restart := func(names ...string) *desk {
		d := newDesk(names, 10*time.Second, noon)
		d.load(bus, noon)
		expect(t, d, noon, "", "")
		return d
	}

	d := restart("A", "old")
	d.feed("A", noon).answer(finds(append(numbered(0, 49), "new")...), nil)
	expect(t, d, noon, "new", "t049")

	d = restart("A", "old")
	d.feed("A", noon).answer(finds(numbered(0, 10)...), nil)
	expect(t, d, noon, "", "")
	if d.state("A") != StateHeld {
		t.Errorf("a source that shrank while nobody looked is %s", d.state("A"))
	}

	// A source under another name takes its targets along, and what is left of the old name is held.
	d = restart("A", "new")
	d.feed("A", noon).answer(finds(numbered(0, 50)...), nil)
	expect(t, d, noon, "", "")
	if d.state("old") != StateWaiting {
		t.Errorf("before all sources are read, what is left of an old one is %s", d.state("old"))
	}
	d.feed("new", noon).answer(finds("moved"), nil)
	expect(t, d, noon, "moved", "")
	if d.state("old") != StateHeld {
		t.Errorf("what is left of a source that is gone is %s", d.state("old"))
	}
	if err := d.accept("old", "", noon); err != nil {
		t.Fatal(err)
	}
	expect(t, d, noon, "", "m2")
	for _, f := range d.feeds {
		if f.name == "old" {
			t.Error("a source that is gone and has nothing left is still shown")
		}
	}
}

// Whatever sources say, in whatever order: what runs goes together, no source lost much unasked, and when all are valid
// and agreed to, what runs is what they say.
func TestTheDeskUnderAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"A", "B", "C"}
		d := newDesk(names, 10*time.Second, noon)
		now, agreed := noon, map[string]bool{}
		ids := rapid.SampledFrom(numbered(0, 12))
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			now = now.Add(time.Second)
			name := rapid.SampledFrom(names).Draw(t, "source")
			had := map[string]int{}
			for _, one := range d.running {
				had[one.Origin]++
			}
			switch rapid.SampledFrom([]string{"say", "say", "say", "mistake", "agree"}).Draw(t, "what") {
			case "say":
				var specs []string
				for _, id := range rapid.SliceOfNDistinct(ids, 0, 8, rapid.ID).Draw(t, "ids") {
					spec := id + "=" + rapid.SampledFrom([]string{"a", "b"}).Draw(t, "address")
					if rapid.IntRange(0, 3).Draw(t, "related") == 0 {
						spec += ">" + ids.Draw(t, "needed")
					}
					specs = append(specs, spec)
				}
				d.feed(name, now).answer(finds(specs...), nil)
			case "mistake":
				d.feed(name, now).answer(nil, conf.Problems{{What: "bad"}})
			case "agree":
				if d.accept(name, "", now) == nil {
					agreed[name] = true
				}
			}
			out := d.settle(now)
			lost := map[string]int{}
			for _, one := range out.remove {
				lost[one.Origin]++
			}
			d.stored(out.publish)
			d.removed(out.remove)
			for origin, n := range lost {
				if suspicious(n, had[origin], 1) && !agreed[origin] {
					t.Fatalf("%s lost %d of %d unasked", origin, n, had[origin])
				}
			}
			for _, f := range d.feeds {
				agreed[f.name] = f.accepted != ""
			}
			var all []source.Found
			for _, one := range d.running {
				all = append(all, source.Found{Target: one, Refs: source.RefsOf(one)})
			}
			if w := merge([]part{{found: all}}, false); len(w.problems) > 0 {
				t.Fatalf("what runs does not go together: %v", w.problems)
			}
		}
		// Then everybody says something that goes together, and agrees to every loss.
		want := map[string]string{event.CanaryTarget: "kemi"}
		for k, name := range names {
			ids := numbered(20*k, 20*k+3)
			for _, id := range ids {
				want[id] = "a"
			}
			d.feed(name, now).answer(finds(ids...), nil)
		}
		for range 4 {
			act(d, now)
			for _, name := range names {
				_ = d.accept(name, "", now) // Not every source is held.
			}
		}
		got := map[string]string{}
		for id, one := range d.running {
			got[id] = one.Address
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("-want +got:\n%s", diff)
		}
	})
}

func TestTheStateOfASourceTellsAMistakeOnce(t *testing.T) {
	d := newDesk([]string{"A"}, 10*time.Second, noon)
	p := conf.Problem{File: "f", Line: 2, Column: 1, What: "wrong"}
	first := conf.Problem{File: "f", Line: 1, Column: 1, What: "wrong too"}
	d.feed("A", noon).answer(nil, conf.Problems{p, first, p})
	act(d, noon)
	if diff := cmp.Diff(conf.Problems{first, p}, d.feed("A", noon).status.Problems); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
