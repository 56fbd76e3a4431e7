"""The data sets, one module for each source; `normkit.data.catalogue` finds every `DataSet` here by listing."""
