package view_test

import (
	"testing"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
)

func TestTargetsAreFoundByWhatOthersCallThem(t *testing.T) {
	s := view.NewState()
	add := func(id, address, name string) {
		s.SetTarget(&event.Target{ID: id, Address: address, Labels: map[string]string{event.LabelName: name}})
	}
	add("core-1", "192.0.2.1:161", "Core1.example.org")
	add("shop", "https://shop.example.org:8443/health?x=1", "")
	add("shop-2", "https://shop.example.org/", "")
	add("v6", "[2001:db8::1]:161", "")
	add("bare6", "2001:db8::2", "")
	want := map[string]string{
		"core-1": "core-1", "core-1:9100": "core-1", "192.0.2.1": "core-1", "192.0.2.1:161": "core-1", "192.0.2.1:9100": "core-1", "core1.EXAMPLE.org:1": "core-1",
		"https://shop.example.org:8443/health?x=1": "shop", "shop.example.org:8443": "shop", "http://shop.example.org:8443/other": "shop", "shop.example.org:1": "",
		"https://shop.example.org/": "shop-2", "[2001:db8::1]:9100": "v6", "2001:db8::1": "v6", "[2001:db8::1]": "v6", "2001:db8::2": "bare6", "[2001:db8::2]:161": "bare6",
		"CORE-1": "", "http://": "", ":9100": "", "no such": "",
	}
	check := func() {
		t.Helper()
		for instance, id := range want {
			got := ""
			if found := s.Called(instance); found != nil {
				got = found.ID
			}
			if got != id {
				t.Errorf("%q is %q, not %q", instance, got, id)
			}
		}
	}
	check()
	add("core-1", "192.0.2.2", "other")
	for _, old := range []string{"192.0.2.1", "192.0.2.1:161", "192.0.2.1:9100", "core1.EXAMPLE.org:1"} {
		want[old] = ""
	}
	want["192.0.2.2:161"], want["other"] = "core-1", "core-1"
	s.RemoveTarget("shop-2")
	want["https://shop.example.org/"], want["shop.example.org:1"] = "shop", "shop"
	check()
}
