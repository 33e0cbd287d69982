package file_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kemi.dev/kemi/cmdb/file"
	"kemi.dev/kemi/cmdb/source"
	"kemi.dev/kemi/internal/conf"
)

const head = "classes: {web: }\n"

func save(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func targets(ids ...string) string {
	var b strings.Builder
	b.WriteString("targets:\n")
	for _, id := range ids {
		b.WriteString("- {id: " + id + ", class: web, address: a}\n")
	}
	return b.String()
}

// watched lists a source whenever it says that it changed.
type watched struct {
	t       *testing.T
	s       *file.Source
	changes chan struct{}
	ids     string
	problem string
	calls   atomic.Int32
}

func watch(t *testing.T, dir, path string) *watched {
	t.Helper()
	c := file.Default()
	c.Path = source.Text{At: conf.Pos{File: "kemi.yaml", Line: 1, Column: 1}, Text: path}
	w := &watched{t: t, s: file.New(c, source.Env{Dir: dir}), changes: make(chan struct{}, 1)}
	w.list()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- w.s.Watch(ctx, func() {
			w.calls.Add(1)
			select {
			case w.changes <- struct{}{}:
			default:
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	return w
}

func (w *watched) list() {
	found, problems := w.s.List(w.t.Context())
	var ids []string
	for _, f := range found {
		ids = append(ids, f.Target.ID)
	}
	slices.Sort(ids)
	w.ids, w.problem = strings.Join(ids, " "), problems.Error()
}

// until waits for the source to say that it changed, and to have these targets and this problem then.
func (w *watched) until(ids, problem string) {
	w.t.Helper()
	deadline := time.After(2 * time.Second)
	for w.ids != ids || !strings.Contains(w.problem, problem) || (problem == "") != (w.problem == "") {
		select {
		case <-w.changes:
			w.list()
		case <-deadline:
			w.t.Fatalf("2 s after the change the targets are %q and the problem is %q, want %q and %q", w.ids, w.problem, ids, problem)
		}
	}
}

func TestChangesOfAFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "targets.yaml")
	save(t, path, head+targets("a"))
	w := watch(t, dir, "targets.yaml")
	w.until("a", "")

	save(t, path, head+targets("a", "b"))
	w.until("a b", "")

	// As editors save: another file, moved over the old one.
	save(t, path+".tmp", head+targets("c"))
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
	w.until("c", "")

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w.until("", "no such file or directory")
	save(t, path, head+targets("c"))
	w.until("c", "")

	save(t, path, head+"targets: [")
	w.until("", "targets.yaml:2:")
	save(t, path, head+targets("c"))
	w.until("c", "")
}

func TestChangesWhereALinkPointsTo(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "elsewhere", "real.yaml")
	save(t, real, head+targets("a"))
	save(t, filepath.Join(dir, "t", "classes.yaml"), "classes: {vm: }")
	if err := os.Symlink(real, filepath.Join(dir, "t", "link.yaml")); err != nil {
		t.Fatal(err)
	}
	w := watch(t, dir, "t/*.yaml")
	w.until("a", "")
	save(t, real, head+targets("b"))
	w.until("b", "")
	save(t, real, head+targets("c"))
	w.until("c", "")
}

func TestChangesInADirectory(t *testing.T) {
	dir := t.TempDir()
	save(t, filepath.Join(dir, "t", "classes.yml"), head)
	save(t, filepath.Join(dir, "t", "a.json"), `{"targets": [{"id": "a", "class": "web", "address": "a"}]}`)
	save(t, filepath.Join(dir, "t", ".hidden.yaml"), "nonsense: true")
	save(t, filepath.Join(dir, "t", "notes.txt"), "nonsense: true")
	w := watch(t, dir, "t")
	w.until("a", "")
	save(t, filepath.Join(dir, "t", "b.yaml"), targets("b"))
	w.until("a b", "")
	if err := os.Remove(filepath.Join(dir, "t", "a.json")); err != nil {
		t.Fatal(err)
	}
	w.until("b", "")
	// The directory as a whole is replaced.
	save(t, filepath.Join(dir, "next", "c.yaml"), head+targets("c"))
	if err := os.Rename(filepath.Join(dir, "t"), filepath.Join(dir, "old")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "t")); err != nil {
		t.Fatal(err)
	}
	w.until("c", "")
	save(t, filepath.Join(dir, "t", "d.yaml"), targets("d"))
	w.until("c d", "")
}

func TestChangesUnderAGlob(t *testing.T) {
	dir := t.TempDir()
	save(t, filepath.Join(dir, "sites", "dc1", "targets.yaml"), head+targets("a"))
	w := watch(t, dir, "sites/*/targets.yaml")
	w.until("a", "")
	// A directory that was not there when the watch began, and later changes in it.
	save(t, filepath.Join(dir, "sites", "dc2", "targets.yaml"), targets("b"))
	w.until("a b", "")
	save(t, filepath.Join(dir, "sites", "dc2", "targets.yaml"), targets("c"))
	w.until("a c", "")
	if err := os.RemoveAll(filepath.Join(dir, "sites", "dc2")); err != nil {
		t.Fatal(err)
	}
	w.until("a", "")
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// A directory that is away for a while, as with git checkout, is seen going, coming back and changing again, however the
// path names what is in it.
func TestChangesOfADirectoryThatWasAway(t *testing.T) {
	paths := []string{"site/targets/*.yaml", "site/*/a.yaml", "site/targets", "site/targets/a.yaml", "link.yaml", "current/targets/*.yaml"}
	for _, away := range []string{"site/targets", "site"} {
		t.Run(away, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			name := filepath.Join(dir, "site", "targets", "a.yaml")
			save(t, name, head+targets("a"))
			for from, to := range map[string]string{"site/targets/a.yaml": "link.yaml", "site": "current"} {
				if err := os.Symlink(from, filepath.Join(dir, to)); err != nil {
					t.Fatal(err)
				}
			}
			var all []*watched
			for _, path := range paths {
				all = append(all, watch(t, dir, path))
			}
			until := func(ids, problem string) {
				t.Helper()
				for _, w := range all {
					w.until(ids, problem)
				}
			}
			until("a", "")
			away, other := filepath.Join(dir, away), filepath.Join(dir, "other")
			move(t, away, other)
			until("", "a")
			move(t, other, away)
			until("a", "")
			save(t, name, head+targets("b"))
			until("b", "")
			// It is made anew, step by step.
			if err := os.RemoveAll(away); err != nil {
				t.Fatal(err)
			}
			until("", "a")
			save(t, name, head+targets("a"))
			until("a", "")
			// Another takes its place at once, and is changed afterwards.
			next := filepath.Join(dir, "next")
			save(t, strings.Replace(name, away, next, 1), head+targets("d"))
			move(t, away, other)
			move(t, next, away)
			until("d", "")
			save(t, name, head+targets("e"))
			until("e", "")
		})
	}
}

// What is not there when the watch begins is seen when it comes.
func TestFilesThatComeLater(t *testing.T) {
	dir := t.TempDir()
	w := watch(t, dir, "a/b/c/*.yaml")
	w.until("", "no file matches")
	save(t, filepath.Join(dir, "a", "b", "c", "t.yaml"), head+targets("a"))
	w.until("a", "")
	save(t, filepath.Join(dir, "a", "b", "c", "t.yaml"), head+targets("b"))
	w.until("b", "")
}

// A release is a link that is pointed elsewhere.
func TestChangesOfALinkedDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, id := range []string{"a", "b"} {
		save(t, filepath.Join(dir, "releases", id, "targets", "t.yaml"), head+targets(id))
	}
	point := func(to string) {
		t.Helper()
		if err := os.Symlink(filepath.Join("releases", to), filepath.Join(dir, "tmp")); err != nil {
			t.Fatal(err)
		}
		move(t, filepath.Join(dir, "tmp"), filepath.Join(dir, "current"))
	}
	point("a")
	w := watch(t, dir, "current/targets/*.yaml")
	w.until("a", "")
	point("b")
	w.until("b", "")
	save(t, filepath.Join(dir, "releases", "b", "targets", "t.yaml"), head+targets("c"))
	w.until("c", "")
}

// What happens beside the path is no reason to read the files again.
func TestChangesElsewhereAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	save(t, filepath.Join(dir, "targets", "t.yaml"), head+targets("a"))
	w := watch(t, dir, "targets/*.yaml")
	w.until("a", "")
	before := w.calls.Load()
	for _, name := range []string{"kemi.log", "kemi.yaml", "other/t.yaml"} {
		save(t, filepath.Join(dir, name), "x")
	}
	save(t, filepath.Join(dir, "targets", "t.yaml"), head+targets("b"))
	w.until("b", "")
	if n := w.calls.Load() - before; n != 1 {
		t.Errorf("one change was told %d times", n)
	}
}

// Kubernetes mounts a ConfigMap as links to a directory that is exchanged as a whole.
func TestChangesOfAMountedConfigMap(t *testing.T) {
	dir := t.TempDir()
	link := func(from, to string) {
		t.Helper()
		if err := os.Symlink(from, filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	save(t, filepath.Join(dir, "..2026_1", "targets.yaml"), head+targets("a"))
	link("..2026_1", "..data")
	link("..data/targets.yaml", "targets.yaml")
	file, whole := watch(t, dir, "targets.yaml"), watch(t, dir, ".")
	file.until("a", "")
	whole.until("a", "")
	for _, id := range []string{"b", "c"} {
		save(t, filepath.Join(dir, "..2026_"+id, "targets.yaml"), head+targets(id))
		link("..2026_"+id, "..data_tmp")
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		file.until(id, "")
		whole.until(id, "")
	}
}

// A file written in many small steps is not read at each of them.
func TestAFileIsReadWhenItIsQuiet(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "targets.yaml")
	save(t, path, head+targets("a"))
	w := watch(t, dir, "targets.yaml")
	w.until("a", "")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	step := time.NewTicker(5 * time.Millisecond)
	defer step.Stop()
	before := w.calls.Load()
	const steps = 60
	for range steps {
		<-step.C
		if _, err := f.WriteString("# more\n"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.WriteString("- {id: b, class: web, address: a}\n"); err != nil {
		t.Fatal(err)
	}
	w.until("a b", "")
	if n := w.calls.Load() - before; n > steps/4 {
		t.Errorf("a change was told %d times while it was written in %d steps", n, steps)
	}
}

func FuzzList(f *testing.F) {
	f.Add(head + targets("a"))
	f.Add("classes: {w: {checks: [{kind: snmp, every: 10s}], labels: {a: b}}}\ntargets: [{id: x, class: w, address: '[::1]:1', relations: {runs_on: [a, {any_of: [b]}]}}]")
	f.Add("targets: {}\n---\nclasses: []")
	f.Fuzz(func(t *testing.T, content string) {
		dir := t.TempDir()
		save(t, filepath.Join(dir, "t.yaml"), content)
		c := file.Default()
		c.Path.Text = "t.yaml"
		found, problems := file.New(c, source.Env{Dir: dir}).List(t.Context())
		if len(problems) > 0 {
			return
		}
		for _, one := range found {
			if one.Target.ID == "" || one.Target.Address == "" || one.Target.Class == "" || one.At.Line == 0 {
				t.Errorf("a target without a problem is %+v", one.Target)
			}
		}
	})
}
