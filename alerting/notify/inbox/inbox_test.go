package inbox

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"testing"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
)

func TestInboxFoldsForgetsAndShows(t *testing.T) {
	var set Set
	n, err := set.New("box", Config{Keep: 3}, notify.Env{})
	if err != nil {
		t.Fatal(err)
	}
	arrived := set.Get("box").Arrived()
	for i := range 5 {
		for range 2 {
			if _, err := n.Notify(t.Context(), &event.Page{ID: fmt.Sprint(i), Title: "t"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	select {
	case <-arrived:
	default:
		t.Error("nobody was told that a page arrived")
	}
	list := set.Get("box").List()
	if len(list) != 3 || list[0].Page.ID != "2" || list[2].Page.ID != "4" || list[0].Times != 2 || !n.Dedups() {
		t.Errorf("the inbox has %+v", list)
	}
	w := httptest.NewRecorder()
	set.Get("box").ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	var shown []Entry
	if err := json.Unmarshal(w.Body.Bytes(), &shown); err != nil || len(shown) != 3 {
		t.Errorf("showed %s, %v", w.Body, err)
	}
	w = httptest.NewRecorder()
	if set.Get("box").ServeHTTP(w, httptest.NewRequest("POST", "/", nil)); w.Code != 405 {
		t.Errorf("POST was answered %d", w.Code)
	}
}

// A reload keeps what is in the box.
func TestAnInboxOfTheSameNameLivesOn(t *testing.T) {
	var set Set
	for range 2 {
		n, err := set.New("box", Default(), notify.Env{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Notify(t.Context(), &event.Page{ID: "1"}); err != nil {
			t.Fatal(err)
		}
	}
	if list := set.Get("box").List(); len(list) != 1 || list[0].Times != 2 {
		t.Errorf("the inbox has %+v", list)
	}
	if set.Get("other") != nil {
		t.Error("there is a box that nobody made")
	}
}
