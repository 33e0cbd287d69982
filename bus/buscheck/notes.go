package buscheck

import (
	"context"
	"time"
)

// notes has two processes say something of themselves in a folder, one of which takes it back, and others follow: one from
// before, one from after.
func notes(e *env) {
	ctx, cancel := context.WithTimeout(e.Context(), e.h.Patience)
	defer cancel()
	other, _ := e.bus()
	follow := func() <-chan [2]string {
		heard := make(chan [2]string, 100)
		go func() {
			_ = e.b.FollowNotes(ctx, "folk", func(name string, data []byte, stored time.Time) {
				if stored.IsZero() {
					name += " at no time"
				}
				heard <- [2]string{name, string(data)}
			})
		}()
		return heard
	}
	expect := func(heard <-chan [2]string, want ...[2]string) {
		e.Helper()
		for _, w := range want {
			select {
			case got := <-heard:
				if got != w {
					e.Errorf("heard %q, want %q", got, w)
				}
			case <-ctx.Done():
				e.Fatalf("waited in vain for %q", w)
			}
		}
	}
	say := func(folder, name, text string) {
		e.Helper()
		data := []byte(text)
		if text == "" {
			data = nil
		}
		if err := other.SaveNoteIn(ctx, folder, name, data); err != nil {
			e.Fatal(err)
		}
	}
	early := follow()
	for _, x := range [][2]string{{"a", "1"}, {"b/c", "1"}, {"a", "2"}, {"b/c", ""}, {"d", "1"}} {
		say("folks", x[0], "not in the folder")
		say("folk", x[0], x[1])
		expect(early, x)
	}
	expect(follow(), [2]string{"a", "2"}, [2]string{"d", "1"})
}
