export {
  WebGLRenderer, Scene, PerspectiveCamera, OrthographicCamera, BufferGeometry, BufferAttribute, Mesh, Line, LineSegments, Points,
  ShaderMaterial, MeshBasicMaterial, MeshStandardMaterial, LineBasicMaterial, PointsMaterial, DirectionalLight, HemisphereLight,
  AmbientLight, DataTexture, CanvasTexture, SphereGeometry, PlaneGeometry, CircleGeometry, Group, Vector2, Vector3, Matrix4,
  Quaternion, Color, Raycaster, DoubleSide, FloatType, RGBAFormat, RedFormat, NearestFilter, LinearFilter, GridHelper, AxesHelper,
  ArrowHelper, Sprite, SpriteMaterial, BoxGeometry, EdgesGeometry
} from "three";
export { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
