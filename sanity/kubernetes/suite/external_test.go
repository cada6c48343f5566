package suite

import "testing"

func externalStorage(t *testing.T) { t.Skip("not yet") }
