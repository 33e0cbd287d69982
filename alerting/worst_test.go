package alerting

// agrees holds what the desk keeps of its incidents from one time to the next to what it finds when it looks anew: the worst
// of an incident's own alerts, and what holds its pages back. Every story, told or random, is held to it.
func (s *stage) agrees() {
	if len(s.desk.alerts) > 100 || s.desk.hush == nil {
		return
	}
	for id, inc := range s.desk.incidents {
		hushed := map[*held]bool{}
		for _, a := range inc.own {
			hushed[a] = a.hushed
		}
		again := func() { // Looking changes nothing of the story.
			for a, is := range hushed {
				a.hushed = is
			}
		}
		kept, anew := *inc, *inc
		anew.ranked = false
		if kept.severe() != anew.severe() {
			s.t.Fatalf("incident %s: the worst is %s, and kept is %s", id, anew.severe().event.ID, kept.severe().event.ID)
		}
		known := s.desk.mutes(&kept, s.now)
		again()
		anew.restless = true
		if found := s.desk.mutes(&anew, s.now); !sameReasons(known, found) || kept.speaks != anew.speaks || kept.severe() != anew.severe() {
			s.t.Fatalf("incident %s is held back by %v, and known is %v", id, found, known)
		}
		again()
	}
}
