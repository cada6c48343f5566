//go:build tools

package render

import _ "helm.sh/helm/v4/cmd/helm"
