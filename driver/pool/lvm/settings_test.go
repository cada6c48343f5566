package lvm

import (
	"strings"
	"testing"
)

// LVM takes the last of two settings, and says so on its standard error each time.
func TestSettingsAreGivenOnce(t *testing.T) {
	for _, further := range []string{"", discard, `activation/read_only_volume_list=["vg0/a"] ` + keep, checkThin + " " + `activation/read_only_volume_list=["vg0/a"]`} {
		seen := map[string]string{}
		all := " " + settings("vg0", further)
		for _, s := range ownSettings {
			if n := strings.Count(all, " "+s.key+"="); n != 1 {
				t.Errorf("with %q, %s is given %d times", further, s.key, n)
			}
			if _, twice := seen[s.key]; twice {
				t.Errorf("%s is listed twice", s.key)
			}
			seen[s.key] = s.value
		}
		if !strings.HasSuffix(all, further) || !strings.Contains(all, ` activation/volume_list=["vg0"]`) {
			t.Errorf("with %q they are %s", further, all)
		}
	}
}
