"""The one image-formation model: geometry, reflectance, shadows, rendering."""
