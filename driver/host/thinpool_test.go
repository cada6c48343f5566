package host

import "testing"

func TestThinStatus(t *testing.T) {
	for text, want := range map[string]ThinUsage{
		"1 256/1024 10/100 - rw no_discard_passdown queue_if_no_space - 1024":   {Data: 10, Metadata: 25, TransactionID: 1},
		"7 1024/1024 100/100 42 out_of_data_space no_discard_passdown":          {Data: 100, Metadata: 100, TransactionID: 7, Health: "out_of_data"},
		"7 512/1024 50/100 - ro discard_passdown error_if_no_space needs_check": {Data: 50, Metadata: 50, TransactionID: 7, Health: "metadata_read_only"},
	} {
		if got, err := parseThinStatus(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "Fail", "Error", "1 1/0 1/0 - rw", "0 8 linear 253:1 0"} {
		if got, err := parseThinStatus(text); err == nil {
			t.Errorf("%q was taken for %+v", text, got)
		}
	}
}
